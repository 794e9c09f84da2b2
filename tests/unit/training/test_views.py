"""Views in training: they help where they may, stay with their example, and are never measured on."""

import json

import numpy as np
import pytest
import torch

from adapters import tasks
from adapters.arrays import count
from adapters.errors import InvalidInput
from adapters.fitting.inputs import Inputs
from adapters.methods import Regime, check, mlp
from adapters.modalities import image
from adapters.training import programs
from adapters.training.data.split import Split, split
from adapters.training.embedding import views
from adapters.training.embedding.views import FEW, Rows
from adapters.training.race.evaluate import evaluate
from adapters.training.race.learning_curve import learner
from adapters.training.race.race import RaceResult, race

TASK = tasks.get("classification")
CLASSES, DIMENSION = ("a", "b", "c"), 64
SHARED = 110  # examples of three rows each, of which folds share forms


class Pictures:
    """What a picture shows, and what changes with every look at it."""

    def __init__(self, count: int, seed: int = 0) -> None:
        random = np.random.default_rng(seed)
        self.targets = np.arange(count) % len(CLASSES)
        self.centres = np.random.default_rng(9).normal(size=(len(CLASSES), DIMENSION))
        self.embeddings = self.look(random)
        self.others = np.stack([self.look(random), self.look(random)])

    def look(self, random: np.random.Generator) -> np.ndarray:
        seen = self.centres[self.targets] + 4 * random.normal(size=(len(self.targets), DIMENSION))
        return np.abs(seen + 8).astype(np.float32)


def run(embeddings, targets, choices, method="auto", fixed=None) -> tuple[RaceResult, Split]:
    nothing = [None] * len(targets)
    parts = split(targets, np.arange(len(targets)), nothing, nothing, 0)
    result = race(
        embeddings, {"class": targets}, CLASSES, parts, TASK, method, fixed or {}, 0, lambda facts: None,
        lambda: None, None, choices,
    )  # fmt: skip
    return result, parts


def both(embeddings, further) -> dict[str, np.ndarray]:
    return {"none": views.no_views(embeddings), "more": further}


@pytest.fixture(scope="module")
def helped() -> tuple[Pictures, RaceResult]:
    data = Pictures(24)
    return data, run(data.embeddings, data.targets, both(data.embeddings, data.others))[0]


def test_views_win_where_they_show_what_does_not_matter(helped):
    """Each is a fresh look at the same thing: three times the data."""
    data, result = helped
    assert result.views == "more"
    plain, _ = run(data.embeddings, data.targets, None)
    fresh = Pictures(300, seed=1)
    right = [
        (programs.run(r.program, fresh.embeddings).argmax(axis=1) == fresh.targets).mean() for r in (result, plain)
    ]
    assert plain.views == "none" and right[0] > right[1] + 0.05


def test_views_that_mislead_lose():
    """A view that looks like another class, as a mirrored character may."""
    data = Pictures(24)
    wrong = np.roll(data.others, 1, axis=1)
    assert run(data.embeddings, data.targets, both(data.embeddings, wrong))[0].views == "none"


def test_the_table_says_who_used_which_views(helped):
    _, result = helped
    entered = {views: [r for r in result.table if r["views"] == views] for views in ("none", "more")}
    assert len(entered["none"]) == len(entered["more"]) > 0 and len(result.table) == 2 * len(entered["none"])
    json.dumps(result.table, allow_nan=False)


def test_a_choice_that_is_fixed_runs_alone():
    data = Pictures(24)
    result, _ = run(data.embeddings, data.targets, {"more": data.others})
    assert {row["views"] for row in result.table} == {"more"} == {result.views}


def test_the_same_seed_gives_the_same_head(helped):
    data, result = helped
    again, _ = run(data.embeddings, data.targets, both(data.embeddings, data.others))
    assert programs.to_bytes(again.program) == programs.to_bytes(result.program)


@pytest.mark.slow
@pytest.mark.parametrize("count", [60, SHARED])
@pytest.mark.parametrize(("method", "fixed"), [("auto", {}), ("mlp", {"epochs": 60, "hidden": 32})])
def test_views_never_straddle_a_fold(count, method, fixed):
    """Noise with views that are copies: a fit that saw a copy of what it is asked about would know the answer."""
    random = np.random.default_rng(0)
    embeddings, targets = random.random((count, 300), dtype=np.float32), np.arange(count) % 3
    copies = np.stack([embeddings, embeddings])
    result, parts = run(embeddings, targets, {"more": copies}, method, fixed)
    figures = evaluate(result, TASK, embeddings, {"class": targets}, CLASSES, parts).figures
    assert figures["examples"] == count  # each once, as serving sees it
    assert figures["accuracy_interval"][0] < 1 / 3 < figures["accuracy_interval"][1] + 0.1


def test_calibration_is_on_what_serving_sees(helped):
    data, result = helped
    assert sorted(result.index.tolist()) == list(range(len(data.targets))) and count(result.outputs) == 24


def test_the_learning_curve_is_of_a_fit_with_the_views():
    data = Pictures(60)
    fits, targets = {}, {"class": data.targets}
    for name, further in both(data.embeddings, data.others).items():
        learn = learner(data.embeddings, further, targets, 3, "prototype", {"inputs": "plain"}, 0, TASK, ())
        fits[name] = learn(np.arange(30), np.arange(30, 60))
    assert np.abs(fits["none"]["probabilities"] - fits["more"]["probabilities"]).max() > 0.1


def test_a_network_stops_by_examples_of_which_it_saw_no_view():
    """Labels are noise, views copies: stopping by a copy of what is trained on would never stop."""
    random = np.random.default_rng(0)
    x = torch.from_numpy(np.tile(random.normal(size=(200, 8)).astype(np.float32), (3, 1)))
    targets = torch.from_numpy(np.tile(random.integers(0, 2, 200), 3))
    asked = {"inputs": "plain", "hidden": 64, "dropout": 0, "learning_rate": 0.01, "epochs": 200, "patience": 3}
    settings = mlp.settings(check("mlp", asked | {"weight_decay": 0}), Regime(200, 8, 2, 100, 100, 100))
    calls: list[int] = []
    mlp.fit(Inputs(x, 3), targets, 2, settings, 0, lambda: calls.append(0))
    assert len(calls) < 60


# Rows


@pytest.mark.parametrize("way", ["apart", "among"])
def test_the_rows_of_some_examples_are_theirs_and_their_views(way):
    data = Pictures(9)
    rest = np.array([1, 2, 4, 5, 8])
    rows = Rows(torch.from_numpy(data.embeddings), torch.from_numpy(data.others), rest)
    found = getattr(rows, way)(np.array([2, 8]))
    expected = np.concatenate([look[[2, 8]] for look in (data.embeddings, *data.others)])
    np.testing.assert_array_equal(found.embeddings.numpy(), expected)
    assert found.each == 3 and rows.repeated(torch.tensor([7, 9])).tolist() == [7, 9] * 3


# What a job compares


def test_few_examples_are_tried_with_the_first_choice_and_many_are_not():
    first = next(iter(image.VIEWS))
    assert views.wanted(image, "auto", FEW) == {"none": (), first: image.VIEWS[first]}
    assert views.wanted(image, "auto", FEW + 1) == {"none": ()}
    assert views.wanted(object(), "auto", 1) == {"none": ()}


def test_a_choice_is_kept_whatever_the_number_of_examples():
    assert views.wanted(image, "flip", 10**6) == {"flip": image.VIEWS["flip"]}
    assert views.wanted(image, "none", 1) == {"none": ()}
    with pytest.raises(InvalidInput, match="there are no views 'upside-down'; there are: auto, none, all"):
        views.wanted(image, "upside-down", 1)
