"""Deep fits to sequences: taps as long as they are, batches of like lengths, and a version that reads any length."""

import numpy as np
import pytest
from support.sequences import WIDTH, encoder, made_up, several

from adapters import padding, recipe, tasks
from adapters.errors import InvalidInput
from adapters.runtime.heads.head import Head
from adapters.runtime.onnx import session
from adapters.runtime.passes import Pass
from adapters.training import programs
from adapters.training.backbone import cuts
from adapters.training.data.split import split
from adapters.training.deep import deep_round, interpreter, plan, taps
from adapters.training.deep.examples import Examples
from adapters.training.deep.fitting import batches, schedule
from adapters.training.deep.outcome import DeepResult
from adapters.training.publish import deep_export, verify
from adapters.training.race.race import race
from adapters.types import Schema

GRAPH, COUNT = encoder(), 60
(CUT,) = cuts.find(GRAPH, made_up)
GIVEN = several(COUNT)
LENGTHS = np.array([len(each["ids"]) for each in GIVEN])
SETTINGS = {"epochs": 3, "batch_size": 8, "unfreeze": CUT.name}


def labels() -> list[str]:
    """Whether the mean word is a high one."""
    return ["high" if each["ids"].mean() > 9.5 else "low" for each in GIVEN]


@pytest.fixture(scope="module")
def examples() -> Examples:
    task = tasks.get("classification")
    classes = task.classes(labels())
    targets = task.targets(labels(), classes)
    opened = session.create(GRAPH)
    pooled = np.concatenate([opened.run(["pooled"], padding.collate([each], False))[0] for each in GIVEN])
    parts = split(task.strata(targets), np.arange(COUNT), [None] * COUNT, [None] * COUNT, 0)
    return Examples(GIVEN.__getitem__, pooled, WIDTH, targets, classes, parts, task, LENGTHS)


def ran(folder, given: Examples, **settings) -> DeepResult:
    folder.mkdir(exist_ok=True)
    shallow = race(
        given.embeddings, given.targets, given.classes, given.split, given.task, "auto", {}, 0, lambda _: None,
        lambda: None, lengths={"pooled": WIDTH},
    )  # fmt: skip
    found = deep_round.run(
        folder, GRAPH, made_up, given, shallow, SETTINGS | settings, 0, lambda _: None, lambda _: None, always=True
    )
    assert isinstance(found, DeepResult)
    return found


def made(folder) -> taps.Taps:
    return taps.make(
        folder / "a.taps", cuts.trunk(GRAPH, CUT), CUT, GIVEN.__getitem__, COUNT, ["served"], lambda: None,
        lengths=LENGTHS,
    )  # fmt: skip


# Taps
def test_each_has_the_room_of_the_longest_and_is_read_as_long_as_the_longest_of_a_batch(tmp_path):
    kept, trunk = made(tmp_path), session.create(cuts.trunk(GRAPH, CUT))
    assert kept.data.shape == (1, COUNT, LENGTHS.max(), WIDTH + 1)
    some = np.argsort(LENGTHS, kind="stable")[:5]
    read = kept.served(some)
    assert read.shape[1] == LENGTHS[some].max() < LENGTHS.max()
    for row, position in zip(read.numpy(), some, strict=True):
        (told,) = trunk.run(None, padding.collate([GIVEN[position]], False))
        np.testing.assert_allclose(row[: LENGTHS[position]], told[0], atol=2e-3)  # halves are kept
        assert not row[LENGTHS[position] :].any()


def test_sequences_of_like_length_are_in_a_batch_together():
    """Each once, in batches about as large as others are, and drawn anew."""
    order = np.random.default_rng(1).permutation(COUNT)
    found = batches.split(order, 8, LENGTHS, np.random.default_rng(0))
    assert np.array_equal(np.sort(np.concatenate(found)), np.arange(COUNT))
    assert {len(batch) for batch in found} <= {7, 8}
    spread = np.mean([np.ptp(LENGTHS[batch]) for batch in found])
    assert spread < np.mean([np.ptp(LENGTHS[batch]) for batch in np.array_split(order, 8)]) / 2
    again = batches.split(order, 8, LENGTHS, np.random.default_rng(1))
    assert any(not np.array_equal(one, other) for one, other in zip(found, again, strict=True))


# Plans
def test_a_plan_counts_with_the_longest_for_room_and_with_the_usual_for_time():
    known = plan.Known(COUNT, COUNT, LENGTHS)
    assert known.room(CUT).shape == (LENGTHS.max(), WIDTH + 1)
    assert LENGTHS.mean() < known.usual(CUT, 8).shape[0] < LENGTHS.max()
    (entry,) = plan.plan(GRAPH, made_up, recipe.check(SETTINGS), known, [], None).entries
    assert entry.taps == COUNT * LENGTHS.max() * (WIDTH + 1) * 2
    short = plan.Known(COUNT, COUNT, np.full(COUNT, 2))
    assert plan.plan(GRAPH, made_up, recipe.check(SETTINGS), short, [], None).entries[0].final < entry.final


@pytest.mark.parametrize("augment", ["flip", "crop", "randaugment"])
def test_what_is_done_to_pixels_is_refused(augment):
    asked = recipe.Hyperparameters(augment=augment, unfreeze=CUT.name)
    with pytest.raises(InvalidInput, match="is of pixels") as refused:
        plan.plan(GRAPH, made_up, asked, plan.Known(COUNT, COUNT, LENGTHS), [], None)
    assert refused.value.item == "augment"


def test_transformers_and_all_layers_have_a_smaller_rate_unless_one_is_asked_for():
    usual, asked = recipe.Hyperparameters(), recipe.Hyperparameters(learning_rate=0.01)
    assert schedule.highest(usual, "input", ("input", "map")) < schedule.highest(usual, "map", ("input", "map"))
    assert schedule.highest(usual, "input", ("input", "tokens")) == schedule.highest(usual, "tokens")
    assert schedule.highest(usual, "map", ("map", "tokens")) == schedule.highest(usual, "map"), (
        "of a cut its own kind counts"
    )
    assert schedule.highest(usual, "sequence") == schedule.highest(usual, "tokens") < schedule.highest(usual, "map")
    assert schedule.highest(asked, "sequence") == schedule.highest(asked, "input") == 0.01


# A round
def test_it_is_trained_and_what_is_exported_reads_any_length(tmp_path, examples):
    """Alone or with longer ones, as torch; and the proof has probes that are sequences."""
    found = ran(tmp_path, examples, learning_rate=0.01, mix=1)
    assert found.tail != cuts.floated(cuts.tail(GRAPH, CUT)), "no weight moved"
    graph = deep_export.to_onnx(found.program, found.tail, found.cut, WIDTH, examples.classes, {})
    trunk, head = session.create(cuts.trunk(GRAPH, CUT)), Head.from_bytes(graph)
    told = [trunk.run(None, padding.collate([each], False))[0][0] for each in GIVEN[:9]]
    together = head.answer(padding.stacked(told)).arrays["probabilities"]
    alone = np.concatenate([head.answer(tap[np.newaxis]).arrays["probabilities"] for tap in told])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    (apart,) = Pass("trunk", ("trunk",)).columns(told)
    assert apart.dtype == object and apart.shape == (9,)  # as a request has them
    np.testing.assert_array_equal(head.answer(apart).arrays["probabilities"], together)
    np.testing.assert_allclose(head.answer(apart[3:5]).arrays["probabilities"], alone[3:5], atol=1e-5)
    read = interpreter.run(found.tail, padding.stacked(told))
    np.testing.assert_allclose(together, programs.run(found.program, read), atol=1e-4)
    verify.verify_deep(
        graph, found.program, padding.stacked(told), lambda probes, dtype: interpreter.run(found.tail, probes, dtype),
        examples.task, Schema(tuple(examples.classes), {}), masked=True,
    )  # fmt: skip
    assert deep_export.tail_of(graph, WIDTH) and found.cut.shape == CUT.shape


def test_a_round_tells_the_rate_that_it_took(tmp_path, examples):
    assert ran(tmp_path, examples, epochs=1).hyperparameters["learning_rate"] == schedule.TRANSFORMERS


def test_a_fit_is_the_same_for_a_seed(tmp_path, examples):
    one, other = (ran(tmp_path / name, examples, learning_rate=0.01, mix=1).tail for name in ("a", "b"))
    assert one == other
