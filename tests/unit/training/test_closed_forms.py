"""Ridge and Gaussian discriminant analysis find what scikit-learn finds, on all examples and on a part of them."""

import numpy as np
import pytest
import torch
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import Ridge

from adapters.fitting.inputs import Inputs
from adapters.fitting.shrinkage import Scatter
from adapters.methods import Regime, check, gda, ridge
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


def numbers(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Two numbers [N, 2] of unit variance that the inputs say much of; and the same with every ninth far off."""
    random = np.random.default_rng(2)
    true = inputs[:, :2] + 0.1 * torch.from_numpy(random.normal(size=(len(inputs), 2)).astype(np.float32))
    true = (true - true.mean(dim=0)) / true.std(dim=0)
    spoiled = true.clone()
    spoiled[::9] += 8
    return true, spoiled


@pytest.mark.parametrize("whole", [True, False], ids=["all", "a part"])
def test_hubers_loss_is_at_its_least(examples, whole):
    """There the forces of all examples, each at most one, balance the penalty's."""
    inputs, targets = examples
    _, spoiled = numbers(inputs)
    some, _ = (Inputs(inputs), None) if whole else part_of(inputs, targets)
    wanted = spoiled if whole else part_of(inputs, spoiled)[1]
    strengths = [30.0, 1.0, 0.3]
    settings = [{"inputs": "standardized", "regularization": s, "loss": "huber"} for s in strengths]
    fitted = ridge.fit(some, wanted, 2, settings, 0, lambda: None, final=True, objective="squared")
    for strength, program in zip(strengths, fitted, strict=True):
        forces = np.clip(wanted.numpy() - programs.run(program, some.embeddings), -1, 1)
        pull = standardized(program, some.embeddings).T @ forces / len(wanted)
        np.testing.assert_allclose(pull, strength * program.steps[-1].weight, atol=2e-3)
        np.testing.assert_allclose(forces.mean(axis=0), 0, atol=2e-3)


def test_hubers_loss_forgives_outliers():
    inputs, _ = data(*SHAPES["tall"])
    true, spoiled = numbers(inputs)
    off = {}
    for loss in ("squared", "huber"):
        setting = {"inputs": "standardized", "regularization": 0.1, "loss": loss}
        (program,) = ridge.fit(Inputs(inputs), spoiled, 2, [setting], 0, lambda: None, objective="squared")
        off[loss] = np.abs(programs.run(program, inputs) - true.numpy()).mean()
    assert off["huber"] < 0.5 * off["squared"]


def test_hubers_loss_is_asked_for_and_of_numbers_only():
    asked = {"regularization": 1.0, "inputs": "power"}
    for loss, objective, found in (
        ("auto", "squared", "squared"),
        ("huber", "squared", "huber"),
        ("huber", "softmax", None),
    ):
        regime = Regime(50, 8, 2, 25, 25, 25, objective)
        (setting,) = ridge.settings(check("ridge", asked | {"loss": loss}), regime)
        assert setting.get("loss") == found


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["softmax", "squared"])
@pytest.mark.parametrize("each", [1, 2], ids=["examples", "examples and views"])
def test_what_ridge_says_of_examples_left_out_is_what_fits_without_them_say(examples, objective, each):
    """Groups of one, two and three examples; what is left out lends its place in the axes, but no target."""
    plain, labels = examples
    further = plain + 0.1 * torch.from_numpy(np.random.default_rng(3).normal(size=plain.shape).astype(np.float32))
    inputs = Inputs(torch.cat([plain, further][:each]), each)
    groups = torch.arange(len(plain))
    groups[:12] //= 2
    groups[12:24] //= 3
    targets = labels if objective == "softmax" else numbers(plain)[1]
    rows, repeated = groups.repeat(each), targets.repeat(each, *[1] * (targets.ndim - 1))
    settings = [{"inputs": "standardized", "regularization": value} for value in (30.0, 1.0, 0.1)]
    said = ridge.left_out(inputs, rows, repeated, 3, settings, objective)
    wanted = np.eye(3)[repeated] if objective == "softmax" else repeated.numpy()
    x, count = inputs.standardized("plain").x.numpy(), len(rows)
    for setting, error in zip(settings, said, strict=True):
        errors = []
        for group in np.unique(groups):
            out = rows.numpy() == group
            model = Ridge(alpha=setting["regularization"] * count).fit(x[~out], wanted[~out])
            shown = out & (np.arange(count) < len(plain))
            errors.extend((wanted[shown] - model.predict(x[shown]).reshape(wanted[shown].shape)).ravel() ** 2)
        assert error == pytest.approx(np.mean(errors), rel=2e-3)


@pytest.mark.parametrize("copies", [200, ridge.MOST_TOGETHER + 1])
def test_many_copies_of_one_example_do_no_harm(copies):
    """In float32, where rounding says that what is left of them is nothing, or less; or so many that folds decide."""
    inputs, targets = data(700, 300)
    inputs[:copies], targets[:copies] = inputs[0].clone(), targets[0].clone()
    groups = torch.arange(len(inputs))
    groups[:copies] = 0
    settings = [{"inputs": "power", "regularization": value} for value in ridge.GRID]
    said = ridge.left_out(Inputs(inputs), groups, targets, 3, settings)
    assert len(said) == (0 if copies > ridge.MOST_TOGETHER else len(settings)) and np.isfinite(said).all()
    assert all(0.01 < error < 1 for error in said)


def test_hubers_loss_leaves_its_penalty_to_the_folds():
    inputs, _ = data(*SHAPES["tall"])
    setting = {"inputs": "standardized", "regularization": 1.0, "loss": "huber"}
    assert ridge.left_out(Inputs(inputs), torch.arange(len(inputs)), numbers(inputs)[0], 2, [setting], "squared") == []


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
    ours = gda.amount("ledoit-wolf", axes, scatter, means, targets, inputs.shape[1])
    assert ours == pytest.approx(ledoit_wolf_shrinkage(wide.numpy(), assume_centered=True), rel=1e-2)


def test_gda_is_as_good_as_linear_discriminant_analysis():
    inputs, targets = data(300, 30)
    fresh, truth = data(300, 30)
    theirs = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(inputs, targets).score(fresh, truth)
    (program,) = gda.fit(
        Inputs(inputs), targets, 3, [{"inputs": "standardized", "shrinkage": "ledoit-wolf"}], 0, lambda: None
    )
    assert (programs.run(program, fresh).argmax(axis=1) == truth.numpy()).mean() >= theirs - 0.02


def test_many_left_out_are_solved_with_several_threads_of_torch():
    """LU of such a batch never came back from MKL: a worker with more than one thread hung."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        inputs, targets = data(900, 600)
        part, chosen = Inputs(inputs).part(torch.arange(600)), targets[:600]
        settings = [{"inputs": "standardized", "regularization": value} for value in ridge.GRID]
        fitted = ridge.fit(part, chosen, 3, settings, 0, lambda: None)
    finally:
        torch.set_num_threads(before)
    right = (programs.run(fitted[0], inputs[600:]).argmax(1) == targets[600:].numpy()).mean()
    assert right > 0.8


def test_what_rounding_makes_indefinite_is_solved_all_the_same():
    """All that an axis holds lies in the examples left out, up to the last digit of float32: its scatter is zero."""
    scatter = Scatter(torch.tensor([1e6, 1.0]), torch.tensor([[1000.0, 0.0]]))
    penalties = torch.tensor([1e-4, 1e-3])
    found = scatter.solve(torch.tensor([[0.0], [1.0]]), penalties)
    torch.testing.assert_close(found[:, :, 0], torch.stack([torch.zeros(2), 1 / (1 + penalties)], dim=1))
    assert torch.isfinite(scatter.solve(torch.ones(2, 1), penalties)).all()
