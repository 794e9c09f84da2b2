"""The gate refuses what is worse beyond chance, and nothing else."""

import json

import numpy as np
import pytest
from scipy.stats import binomtest

from adapters import tasks
from adapters.arrays import take
from adapters.comparison.gate import compare, gate
from adapters.types import Schema

TASK = tasks.get("classification")
AB, ABC = Schema(("a", "b")), Schema(("a", "b", "c"))


def answers(both: int, only_live: int, only_candidate: int, neither: int = 0) -> tuple[np.ndarray, np.ndarray]:
    candidate = [True] * both + [False] * only_live + [True] * only_candidate + [False] * neither
    live = [True] * both + [True] * only_live + [False] * only_candidate + [False] * neither
    return np.array(candidate, np.float32), np.array(live, np.float32)


@pytest.mark.parametrize(("lost", "won"), [(0, 0), (4, 0), (5, 0), (10, 3), (3, 10), (60, 40), (3000, 2800), (1, 1)])
def test_the_p_value_is_the_exact_one_of_mcnemar(lost, won):
    verdict = gate(*answers(50, lost, won, 5))
    wanted = binomtest(lost, lost + won, alternative="greater").pvalue if lost + won else 1.0
    assert verdict["p_value"] == pytest.approx(wanted)
    assert verdict["passed"] == (wanted > 0.05)
    json.dumps(verdict, allow_nan=False)


def test_four_losses_are_chance_and_five_are_not():
    assert gate(*answers(20, 4, 0))["passed"]
    refused = gate(*answers(20, 5, 0))
    assert not refused["passed"] and "5 answers" in refused["reason"]


def test_a_better_candidate_passes():
    assert gate(*answers(10, 0, 50))["passed"]


def test_nothing_in_common_passes_and_says_so():
    verdict = gate(*answers(0, 0, 0))
    assert verdict["passed"] and verdict["examples"] == 0 and "no held-out examples in common" in verdict["reason"]


def test_a_class_that_only_the_candidate_knows_does_not_count_against_it():
    live = {"probabilities": np.array([[0.9, 0.1], [0.2, 0.8]], np.float32)}
    answered = [[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.0, 0.0, 1.0]]
    candidate = {"probabilities": np.array(answered, np.float32)}
    verdict = compare(TASK, take(candidate, slice(2)), ABC, live, AB, ["a", "b"])
    assert verdict["candidate_accuracy"] == verdict["live_accuracy"] == 1.0
    assert compare(TASK, take(candidate, [2]), ABC, take(live, [0]), AB, ["c"])["examples"] == 0


def test_the_order_of_classes_does_not_matter():
    live, turned = ({"probabilities": np.array([row], np.float32)} for row in ([0.9, 0.1], [0.1, 0.9]))
    assert compare(TASK, turned, Schema(("b", "a")), live, AB, ["a"])["candidate_accuracy"] == 1.0
