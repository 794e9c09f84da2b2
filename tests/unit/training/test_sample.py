"""Of very many examples candidates are compared on a stratified part; the winner is fitted to all, in little memory."""

import numpy as np
import pytest
import torch

from adapters import methods, tasks
from adapters.fitting.inputs import InPlace, Inputs
from adapters.training import programs
from adapters.training.data import sample
from adapters.training.data.split import Split, split
from adapters.training.race import race as module
from adapters.training.race.race import race
from adapters.types import Affine


def divided(count: int = 3000, classes: int = 4) -> tuple[np.ndarray, Split]:
    targets = np.sort(np.random.default_rng(1).integers(0, classes, count))
    return targets, split(targets, np.arange(count), [None] * count, [None] * count, 0)


def test_few_examples_are_all_compared_on():
    targets, whole = divided()
    assert sample.drawn(whole, targets, len(whole.rest), 0) is whole


def test_a_part_has_its_share_of_each_class_in_each_fold_and_nothing_of_the_test_set():
    targets, whole = divided()
    part = sample.drawn(whole, targets, 480, 0)
    assert 480 <= len(part.rest) <= 500 and set(part.rest) < set(whole.rest)
    np.testing.assert_array_equal(part.test, whole.test)
    for (train, val), (all_train, all_val) in zip(part.folds, whole.folds, strict=True):
        assert set(train) < set(all_train) and set(val) < set(all_val)
        share = len(part.rest) / len(whole.rest)
        for drawn, of in ((train, all_train), (val, all_val)):
            counts, wanted = np.bincount(targets[drawn]), share * np.bincount(targets[of])
            assert (np.abs(counts - wanted) <= 1.5).all()
    again = sample.drawn(whole, targets, 480, 0)
    np.testing.assert_array_equal(part.rest, again.rest)


def test_the_rarest_class_is_in_every_part():
    targets = np.r_[np.zeros(2000, np.int64), np.ones(30, np.int64)]
    nothing = [None] * len(targets)
    whole = split(targets, np.arange(len(targets)), nothing, nothing, 0)
    for train, val in sample.drawn(whole, targets, 50, 0).folds:
        assert set(targets[train]) == {0, 1} and len(val)


@pytest.mark.parametrize("kind", ["plain", "normalized", "power"])
@pytest.mark.parametrize("exact", [True, False])
def test_forms_in_place_are_the_same_forms(kind, exact, monkeypatch):
    monkeypatch.setattr("adapters.fitting.inputs.CHUNK", 100)  # several chunks, the last one short
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(350, 20)).astype(np.float32)) * 3 + 1
    usual, frugal = Inputs(x.clone()), InPlace(x.clone())
    wanted, found = usual.standardized(kind), frugal.standardized(kind)
    torch.testing.assert_close(found.x, wanted.x, rtol=1e-4, atol=1e-5)
    for one, other in zip(found.steps, wanted.steps, strict=True):
        if isinstance(other, Affine):
            np.testing.assert_allclose(one.scale, other.scale, rtol=1e-5)
    axes, theirs = frugal.eigenbasis(kind, exact), usual.eigenbasis(kind, exact)
    torch.testing.assert_close(axes.variances, theirs.variances, rtol=1e-4, atol=1e-5)
    gram, other = axes.rotated @ axes.rotated.T, theirs.rotated @ theirs.rotated.T
    torch.testing.assert_close(gram, other, rtol=1e-3, atol=1e-3)
    assert axes.rotated.data_ptr() == frugal.embeddings.data_ptr()  # no copy was made


@pytest.mark.parametrize("name", methods.names())
def test_every_method_fits_in_place_as_it_does_otherwise(name):
    random = np.random.default_rng(0)
    targets = torch.arange(600) % 3
    x = torch.from_numpy(random.normal(size=(600, 12)).astype(np.float32)) + 2 * torch.nn.functional.one_hot(
        targets, 12
    )
    method = methods.get(name)
    setting = method.settings(
        methods.check(name, {"epochs": 2} if name == "mlp" else {}), methods.Regime(600, 12, 3, 200, 200.0, 200)
    )[0]
    one, other = (
        method.fit(inputs, targets, 3, [setting], 0, lambda: None, None, True)[0]
        for inputs in (Inputs(x.clone()), InPlace(x.clone()))
    )
    np.testing.assert_allclose(programs.run(other, x), programs.run(one, x), rtol=1e-2, atol=1e-2)


def test_a_race_on_a_part_is_fitted_to_all_and_says_so(monkeypatch):
    targets, whole = divided()
    x = np.random.default_rng(2).normal(size=(len(targets), 16)).astype(np.float32)
    x[np.arange(len(targets)), targets] += 3
    monkeypatch.setattr(module, "MOST", 16 * 400)
    fitted = []
    monkeypatch.setattr(module.Data, "in_place", lambda self, rest, source, old=module.Data.in_place: (
        fitted.append(len(rest)), old(self, rest, source)
    )[1])  # fmt: skip
    task = tasks.get("classification")
    result = race(x, {"class": targets}, "abcd", whole, task, "ridge", {}, 0, lambda _: None, lambda: None)
    assert fitted == [len(whole.rest)]
    assert "compared on 40" in result.note and f"of {len(whole.rest):,} examples" in result.note
    assert set(result.index) < set(whole.folds[0][1])
    said = programs.run(result.program, x[whole.test]).argmax(axis=1)
    assert (said == targets[whole.test]).mean() > 0.9
