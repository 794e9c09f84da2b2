"""The classical recipe: it learns what no line can, stops when told, and its schedules go where they should."""

import numpy as np
import pytest
import torch

from adapters.errors import InvalidHyperparameter
from adapters.fitting.inputs import Inputs
from adapters.methods import Regime, check, mlp
from adapters.training import programs

REGIME = Regime(400, 8, 2, 200, 200, 200)
PLAIN = {"inputs": "plain", "hidden": 32, "dropout": 0, "weight_decay": 0, "label_smoothing": 0, "learning_rate": 0.01}


def rings(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes that differ in their distance from the origin only."""
    random = np.random.default_rng(seed)
    targets = np.arange(400) % 2
    inputs = random.normal(size=(400, 8)).astype(np.float32)
    inputs *= ((1 + 2 * targets) / np.linalg.norm(inputs, axis=1))[:, None].astype(np.float32)
    return torch.from_numpy(inputs), torch.from_numpy(targets)


def fit(**asked) -> float:
    """Accuracy on fresh examples."""
    inputs, targets = rings()
    settings = mlp.settings(check("mlp", PLAIN | asked), REGIME)
    (program,) = mlp.fit(Inputs(inputs), targets, 2, settings, 0, lambda: None)
    fresh, truth = rings(1)
    return float((programs.run(program, fresh).argmax(axis=1) == truth.numpy()).mean())


@pytest.mark.parametrize("schedule", ["constant", "cosine", "one-cycle", "plateau"])
def test_it_bends_where_a_line_cannot(schedule):
    assert fit(schedule=schedule) > 0.9


def test_sgd_learns_too():
    assert fit(optimizer="sgd", learning_rate=0.1, epochs=100) > 0.9


def test_auto_is_a_grid_of_what_was_left_open():
    assert len(mlp.settings(check("mlp", {}), REGIME)) == 8
    assert len(mlp.settings(check("mlp", {"hidden": 7, "dropout": 0.1}), REGIME)) == 2


def test_early_stopping_takes_the_best_epoch_and_saves_the_rest():
    inputs, _ = rings()
    random = torch.from_numpy(np.random.default_rng(3).integers(0, 2, 400))  # nothing to learn: stop at once
    calls: list[int] = []
    settings = mlp.settings(check("mlp", PLAIN | {"epochs": 200, "patience": 3}), REGIME)
    mlp.fit(Inputs(inputs), random, 2, settings, 0, lambda: calls.append(0))
    assert len(calls) < 60


def test_schedules_begin_and_end_where_they_should():
    assert mlp.pace("constant", 0, 0, 100) == mlp.pace("constant", 0, 99, 100) == 1
    assert mlp.pace("constant", 0.5, 0, 100) < 0.02
    assert mlp.pace("cosine", 0, 0, 100) > 0.99 and mlp.pace("cosine", 0, 99, 100) < 0.01
    assert mlp.pace("one-cycle", 0, 0, 100) < 0.06 and mlp.pace("one-cycle", 0, 99, 100) < 0.01
    assert max(mlp.pace("one-cycle", 0, step, 100) for step in range(100)) > 0.99


@pytest.mark.parametrize("wrong", [{"hidden": 0}, {"dropout": 1}, {"epochs": 0}, {"schedule": "sideways"}])
def test_a_senseless_value_is_refused_by_name(wrong):
    with pytest.raises(InvalidHyperparameter, match=next(iter(wrong))):
        check("mlp", wrong)
