"""Ridge and Gaussian discriminant analysis find what scikit-learn finds, on all examples and on a part of them."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from adapters.inputs import Inputs
from adapters.methods import gda, ridge
from adapters.training import programs

SHAPES = {"tall": (120, 16), "wide": (40, 90)}


def data(count: int, dimension: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = np.random.default_rng(0)
    targets = np.arange(count) % 3
    inputs = random.normal(size=(3, dimension))[targets] * 0.5 + random.normal(size=(count, dimension))
    return torch.from_numpy(inputs.astype(np.float32)), torch.from_numpy(targets)


@pytest.fixture(params=SHAPES.values(), ids=SHAPES.keys())
def examples(request) -> tuple[torch.Tensor, torch.Tensor]:
    return data(*request.param)


def standardized(program, inputs: torch.Tensor) -> np.ndarray:
    affine = program.steps[0]
    return (inputs.numpy() - affine.shift) * affine.scale


def alike(ours: np.ndarray, theirs: np.ndarray) -> None:
    """Equal but for one factor: logits have no natural spread, the temperature gives them one."""
    ours, theirs = (scores - scores.mean(axis=1, keepdims=True) for scores in (ours, theirs))
    factor = (ours * theirs).sum() / (theirs * theirs).sum()
    np.testing.assert_allclose(ours, factor * theirs, atol=2e-3 * np.abs(ours).max())


def part_of(inputs: torch.Tensor, targets: torch.Tensor) -> tuple[Inputs, torch.Tensor]:
    rows = torch.arange(len(targets))[torch.arange(len(targets)) % 5 != 0]
    return Inputs(inputs).part(rows), targets[rows]


@pytest.mark.parametrize("strength", [30.0, 1.0, 0.1])
@pytest.mark.parametrize("whole", [True, False], ids=["all", "a part"])
def test_ridge_agrees_with_scikit_learn(examples, strength, whole):
    inputs, targets = examples
    some, labels = (Inputs(inputs), targets) if whole else part_of(inputs, targets)
    setting = {"inputs": "standardized", "regularization": strength}
    (program,) = ridge.fit(some, labels, 3, [setting], 0, lambda: None, final=True)
    x, fitted = standardized(program, inputs), standardized(program, some.embeddings)
    theirs = Ridge(alpha=strength * len(labels)).fit(fitted, np.eye(3)[labels])
    alike(programs.run(program, inputs), theirs.predict(x))


@pytest.mark.parametrize("amount", [0.9, 0.3])
@pytest.mark.parametrize("whole", [True, False], ids=["all", "a part"])
def test_gda_agrees_with_scikit_learn(examples, amount, whole):
    inputs, targets = examples
    some, labels = (Inputs(inputs), targets) if whole else part_of(inputs, targets)
    setting = {"inputs": "standardized", "shrinkage": amount}
    (program,) = gda.fit(some, labels, 3, [setting], 0, lambda: None, final=True)
    x, fitted = standardized(program, inputs), standardized(program, some.embeddings)
    means = np.stack([fitted[labels == k].mean(axis=0) for k in range(3)])
    within = (fitted - means[labels]).T @ (fitted - means[labels]) / len(labels)
    covariance = (1 - amount) * within + amount * np.trace(within) / len(within) * np.eye(len(within))
    weights = np.linalg.solve(covariance, means.T)
    bias = np.log(np.bincount(labels) / len(labels)) - (means.T * weights).sum(axis=0) / 2
    alike(programs.run(program, inputs), x @ weights + bias)


def test_ledoit_wolf_shrinks_as_scikit_learn_does(examples):
    inputs, targets = examples
    axes = Inputs(inputs).eigenbasis("plain", exact=True)
    means = torch.stack([axes.rotated[targets == k].mean(dim=0) for k in range(3)])
    centred = axes.rotated - means[targets]
    indicator = torch.nn.functional.one_hot(targets, 3).float()
    _, scatter, _ = gda.shrinkage.around(Inputs(inputs), "plain", indicator)
    wide = torch.zeros(len(centred), inputs.shape[1])
    wide[:, : centred.shape[1]] = centred  # scikit-learn must know of the empty dimensions, too
    ours = gda.amount("ledoit-wolf", axes, scatter, means[targets], inputs.shape[1])
    assert ours == pytest.approx(ledoit_wolf_shrinkage(wide.numpy(), assume_centered=True), rel=1e-2)


def test_gda_is_as_good_as_linear_discriminant_analysis():
    inputs, targets = data(300, 30)
    fresh, truth = data(300, 30)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(inputs, targets).score(fresh, truth)
    (program,) = gda.fit(
        Inputs(inputs), targets, 3, [{"inputs": "standardized", "shrinkage": "ledoit-wolf"}], 0, lambda: None
    )
    assert (programs.run(program, fresh).argmax(axis=1) == truth.numpy()).mean() >= theirs - 0.02
