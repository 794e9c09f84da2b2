"""The learning curve: nested, stratified, measured on the same examples, with an answer that fits the figures."""

import json

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import tasks
from adapters.arrays import joined
from adapters.training.embedding import views
from adapters.training.race.learning_curve import HELD_OUT, SMALLEST, Trial, judge, learner, learning_curve, nested
from adapters.types import Schema

CLASSES = ("a", "b", "c")
TASK = tasks.get("classification")


def trials(count: int, folds: int = 4) -> list[Trial]:
    every = np.arange(count)
    return [Trial(every[every % folds != f], every[every % folds == f]) for f in range(folds)]


def targets(count: int) -> np.ndarray:
    return np.random.default_rng(3).permutation(np.arange(count) % 3)


def curve(count: int, skill) -> dict:
    """Of a learner that is right about a share of its answers, which depends on how much it has learned."""
    truth = targets(count)

    def answer(size: int, held: np.ndarray) -> dict[str, np.ndarray]:
        luck = np.random.default_rng(0).random(count)[held]
        said = np.where(luck < skill(size), truth[held], (truth[held] + 1) % 3)
        return {"probabilities": np.eye(3, dtype=np.float32)[said]}

    parts = trials(count)
    full = joined([answer(len(t.train), t.held) for t in parts])
    return learning_curve(
        truth,
        CLASSES,
        np.arange(count),
        parts,
        full,
        lambda rows, held: answer(len(rows), held),
        judge(TASK, {"class": truth}, Schema(CLASSES)),
        "accuracy",
        0,
    )


def test_a_head_that_still_learns_is_told_that_more_would_help():
    found = curve(600, lambda size: 0.5 + size / 1000)
    assert found["more_inputs"] == "yes" and found["answer"].startswith("Most likely yes.")
    assert [p["examples"] for p in found["points"]] == sorted(p["examples"] for p in found["points"])
    assert found["gain"]["interval"][0] > 0
    json.dumps(found, allow_nan=False)


def test_a_head_that_learns_no_more_is_told_so():
    found = curve(2400, lambda size: 0.95)
    assert found["more_inputs"] == "no" and found["gain"]["score"] == 0


def test_few_held_out_examples_leave_the_answer_open():
    found = curve(60, lambda size: 0.9)
    assert found["more_inputs"] == "unclear"
    low, high = found["gain"]["interval"]
    assert low < 0 < high


def test_every_point_is_measured_on_the_same_examples_and_no_more_than_needed():
    found = curve(2400, lambda size: 0.9)
    assert {p["held_out"] for p in found["points"]} == {HELD_OUT}


def test_tiny_data_has_no_curve_and_a_reason():
    found = curve(3 * SMALLEST, lambda size: 0.9)
    assert "too few inputs" in found["skipped"] and list(found) == ["skipped"]


def test_a_real_method_learns_more_from_more():
    random = np.random.default_rng(0)
    truth = targets(360)
    embeddings = np.abs(random.normal(size=(3, 64))[truth] + 2.5 * random.normal(size=(360, 64))).astype(np.float32)
    setting = {"inputs": "power", "regularization": 1.0, "prior": "data"}
    learn = learner(embeddings, views.no_views(embeddings), {"class": truth}, 3, "logistic", setting, 0, TASK, ())
    parts = trials(360)
    full = joined([learn(t.train, t.held) for t in parts])
    found = learning_curve(
        truth,
        CLASSES,
        np.arange(360),
        parts,
        full,
        learn,
        judge(TASK, {"class": truth}, Schema(CLASSES)),
        "accuracy",
        0,
    )
    first, _, last = (p["score"] for p in found["points"])
    assert last > first > 0.4


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_subsets_are_nested_stratified_and_keep_groups_together(data):
    count = data.draw(st.integers(3, 200))
    truth = np.array(data.draw(st.lists(st.integers(0, 2), min_size=count, max_size=count)))
    groups = np.array([data.draw(st.integers(0, i)) if i % 3 == 0 else i for i in range(count)])
    groups = groups[groups]  # a group's number is its first member's position
    rank = nested(truth, groups, seed=data.draw(st.integers(0, 9)))
    assert ((rank >= 0) & (rank < 1)).all()
    for group in np.unique(groups):
        assert len(np.unique(rank[groups == group])) == 1


def test_half_of_the_data_is_half_of_each_class():
    truth = np.repeat([0, 1, 2], [100, 40, 300])
    rank = nested(truth, np.arange(440), 0)
    assert np.bincount(truth[rank < 0.5]).tolist() == [50, 20, 150]
