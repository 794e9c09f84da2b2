"""The batched L-BFGS finds what scikit-learn finds."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from adapters.errors import InvalidHyperparameter
from adapters.fitting.inputs import Inputs
from adapters.methods import Regime, check, logistic


def data(count: int, dimension: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(0)
    targets = np.arange(count) % classes
    inputs = random.normal(size=(classes, dimension))[targets] * 0.5 + random.normal(size=(count, dimension))
    return torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets)


@pytest.mark.parametrize("shape", [(300, 20, 3), (40, 100, 4), (200, 10, 2)], ids=["tall", "wide", "two classes"])
@pytest.mark.parametrize("strength", [1.0, 0.1, 0.01])
def test_coefficients_and_probabilities_agree_with_scikit_learn(shape, strength):
    count, _, classes = shape
    inputs, targets = data(*shape)
    setting = {"inputs": "standardized", "regularization": strength, "prior": "data"}
    (program,) = logistic.fit(Inputs(inputs), targets, classes, [setting], 0, lambda: None, final=True)
    affine, linear = program.steps
    x = (inputs.numpy() - affine.shift) * affine.scale
    # Two classes as multinomial: scikit-learn has one weight w where we have ± w/2, whose penalty is half of w's.
    penalty = strength / 2 if classes == 2 else strength
    theirs = LogisticRegression(C=1 / (count * penalty), tol=1e-8, max_iter=10_000).fit(x, targets)
    logits = torch.from_numpy(x @ linear.weight + linear.bias)
    ours = linear.weight.T if classes > 2 else (linear.weight[:, 1] - linear.weight[:, 0])[None]
    np.testing.assert_allclose(logits.softmax(dim=1), theirs.predict_proba(x), atol=5e-3)
    assert np.linalg.norm(ours - theirs.coef_) < 0.01 * np.linalg.norm(theirs.coef_)


def test_a_warm_start_at_the_answer_stops_at_once():
    inputs, targets = data(200, 10, 3)
    axes = Inputs(inputs).eigenbasis("plain", exact=True)
    rotated, variances = axes.rotated, axes.variances
    calls: list[int] = []
    penalties = torch.tensor([0.1, 0.01])
    problem = logistic._PROBLEMS["softmax"](rotated, variances, targets, 3)
    cold, bias = problem.solve(penalties, lambda: calls.append(0))
    start = torch.cat([cold, bias[:, :, None]], dim=2)
    warm: list[int] = []
    again, _ = problem.solve(penalties, lambda: warm.append(0), start)
    assert len(warm) < 4 < len(calls)
    torch.testing.assert_close(again, cold, atol=0.02, rtol=0)


def test_settings_shrink_to_what_was_asked_for():
    regime = Regime(100, 1280, 4, 25, 25, 25)
    fixed = {"regularization": 0.5, "inputs": "power", "prior": "data"}
    assert logistic.settings(check("logistic", fixed), regime) == [fixed]
    assert len(logistic.settings(check("logistic", {}), regime)) == len(logistic.FORMS) * len(logistic.GRID)
    unlike = Regime(100, 1280, 4, 10, 25, 40)
    assert len(logistic.settings(check("logistic", {}), unlike)) == 2 * len(logistic.FORMS) * len(logistic.GRID)


@pytest.mark.parametrize("strength", [0, -1, float("inf"), "strong", None, 1e9])
def test_a_senseless_penalty_is_refused(strength):
    with pytest.raises(InvalidHyperparameter, match="regularization"):
        check("logistic", {"regularization": strength})


def test_a_large_grid_is_solved_in_parts(monkeypatch):
    inputs, targets = data(60, 8, 3)
    settings = [{"inputs": "power", "regularization": value, "prior": "data"} for value in (1.0, 0.1, 0.01)]
    whole = logistic.fit(Inputs(inputs), targets, 3, settings, 0, lambda: None)
    monkeypatch.setattr(logistic, "MOST_LOGITS", 200)
    for one, other in zip(whole, logistic.fit(Inputs(inputs), targets, 3, settings, 0, lambda: None), strict=True):
        np.testing.assert_allclose(one.steps[-1].weight, other.steps[-1].weight, atol=1e-3)
