"""A seed does what it is for: another one is another network, the same one is the same to the last bit."""

import numpy as np
import pytest
import torch

from adapters import tasks
from adapters.fitting.inputs import Inputs
from adapters.methods import Regime, check, mlp
from adapters.training import programs
from adapters.training.data.split import split
from adapters.training.race.race import race
from adapters.types import HeadProgram, Linear, Objective

COUNT, DIMENSION, CLASSES = 120, 6, 3
ASKED = {"inputs": "plain", "hidden": 8, "dropout": 0, "weight_decay": 0, "patience": 0, "epochs": 2}
OBJECTIVES: tuple[Objective, ...] = ("softmax", "sigmoid", "squared")
X = torch.from_numpy(np.random.default_rng(0).normal(size=(COUNT, DIMENSION)).astype(np.float32))
CLASS = torch.arange(COUNT) % CLASSES


def fit(seed: int, objective: Objective = "softmax", data: tuple | None = None, **asked) -> HeadProgram:
    settings = mlp.settings(check("mlp", ASKED | asked), Regime(COUNT, DIMENSION, CLASSES, 40, 40, 40))
    targets = CLASS if objective == "softmax" else torch.nn.functional.one_hot(CLASS, CLASSES).float()
    inputs, truth = data or (Inputs(X), targets)
    (program,) = mlp.fit(inputs, truth, CLASSES, settings, seed, lambda: None, objective=objective)
    return program


def weights(program: HeadProgram) -> list[np.ndarray]:
    return [step.weight for step in program.steps if isinstance(step, Linear)]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_same_seed_trains_the_same_network(objective):
    """With everything in play that is drawn: weights, order, dropped units, examples to stop by."""
    asked = {"dropout": 0.5, "batch_size": 16, "patience": 5}
    same = [programs.to_bytes(fit(3, objective, **asked)) for _ in range(2)]
    assert same[0] == same[1]


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_another_seed_begins_with_other_weights(objective):
    """In all layers, and far away: these have hardly been trained."""
    one, other = (weights(fit(seed, objective, learning_rate=1e-6)) for seed in (3, 4))
    for a, b in zip(one, other, strict=True):
        assert np.abs(a - b).mean() > 0.1


def alike(rows: int, columns: int, random: torch.Generator) -> torch.Tensor:
    """First weights that no seed has a say in."""
    return torch.full((rows, columns), 0.1)


def test_another_seed_is_another_order_of_the_examples(monkeypatch):
    """From the same first weights."""
    monkeypatch.setattr(mlp, "_glorot", alike)
    one, other = (weights(fit(seed, learning_rate=0.01, batch_size=8)) for seed in (3, 4))
    assert max(np.abs(a - b).max() for a, b in zip(one, other, strict=True)) > 1e-3


def test_another_seed_drops_other_units(monkeypatch):
    """Of examples that are all alike, so that their order cannot matter."""
    monkeypatch.setattr(mlp, "_glorot", alike)
    same, truth = Inputs(torch.ones(COUNT, DIMENSION)), torch.zeros(COUNT, dtype=torch.int64)
    one, other = (weights(fit(seed, data=(same, truth), learning_rate=0.01, dropout=0.5)) for seed in (3, 4))
    assert max(np.abs(a - b).max() for a, b in zip(one, other, strict=True)) > 1e-4


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_seed_of_a_race_reaches_the_head(task):
    """Of candidates in the folds, and of the winner's last fit."""
    chosen = tasks.get(task)
    targets = {"class": CLASS.numpy()} if task == "classification" else {"values": X.numpy()[:, :CLASSES].copy()}
    parts = split(CLASS.numpy(), np.arange(COUNT), [None] * COUNT, [None] * COUNT, 0)
    results = [
        race(X.numpy(), targets, "abc", parts, chosen, "mlp", ASKED, seed, lambda _: None, lambda: None)
        for seed in (3, 4, 3)
    ]
    stored = [programs.to_bytes(result.program) for result in results]
    assert stored[0] == stored[2] != stored[1]
    said = [next(iter(result.outputs.values())) for result in results]
    assert np.abs(said[0] - said[1]).max() > 1e-3
    np.testing.assert_array_equal(said[0], said[2])
    one, other = (weights(result.uncalibrated)[0] for result in results[:2])
    assert np.abs(one - other).mean() > 0.1
