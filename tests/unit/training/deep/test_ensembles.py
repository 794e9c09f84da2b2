"""The shallow winner's say in a deep version: compared by weight, in one program and one graph, and left out where it
cannot be had.
"""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import deep_fits as deep
from support.networks import SIDE

from adapters import recipe, tasks
from adapters.errors import CorruptArtifact, ParityError
from adapters.runtime.heads.head import DeepHead, Head
from adapters.runtime.heads.pairs import Pairs
from adapters.runtime.onnx import session
from adapters.training import programs
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images
from adapters.training.data.split import split
from adapters.training.deep import deep_round, ensembles, interpreter
from adapters.training.deep.examples import Examples
from adapters.training.deep.outcome import DeepResult
from adapters.training.deep.starts import Begin, Starts
from adapters.training.publish import deep_export, export, verify
from adapters.training.race.race import RaceResult, race
from adapters.training.stages import deep as stage
from adapters.types import (
    Affine,
    Ensemble,
    HeadProgram,
    JobRequest,
    L2Normalize,
    Linear,
    Member,
    Power,
    Schema,
    Softmax,
)

COUNT, MORE = 60, 5  # examples; numbers of an embedding behind `pooled`
FEW = {"epochs": 2, "batch_size": 16, "learning_rate": 0.005, "unfreeze": "a.1"}


def examples(name: str, told: list[str]) -> Examples:
    """Whose embeddings tell the class behind `pooled`, but for noise: the winner of a race reads that."""
    task, shown, labels = tasks.get(name), deep.pixels(COUNT), deep.labels(COUNT)
    classes = task.classes(told)
    pooled = session.create(deep.GRAPH).run(["pooled"], {"pixels": shown})[0]
    more = np.eye(MORE, dtype=np.float32)[labels] + np.random.default_rng(0).normal(size=(COUNT, MORE)) / 2
    embeddings = np.concatenate([pooled, 10 * np.abs(more)], axis=1).astype(np.float32)
    nothing: list[Any] = [None] * COUNT
    targets = task.targets(told, classes)
    parts = split(task.strata(targets), np.arange(COUNT), nothing, nothing, 0)
    return Examples(deep.looking(shown), embeddings, deep.WIDTH, targets, classes, parts, task)


@pytest.fixture(scope="module")
def given() -> Examples:
    return examples("classification", [str(label) for label in deep.labels(COUNT)])


def raced(given: Examples) -> RaceResult:
    lengths = {"taps": deep.WIDTH + MORE, "pooled": deep.WIDTH}
    return race(
        given.embeddings, given.targets, given.classes, given.split, given.task, "auto", {}, 0, lambda _: None,
        lambda: None, lengths=lengths,
    )  # fmt: skip


@pytest.fixture(scope="module")
def shallow(given) -> RaceResult:
    return raced(given)


def ran(folder, given, shallow, begin=None, **asked) -> DeepResult:
    found = deep_round.run(
        folder, deep.GRAPH, images(SIDE), given, shallow, FEW | asked, 0, lambda row: None, lambda state: None,
        always=True, begin=begin,
    )  # fmt: skip
    assert isinstance(found, DeepResult)
    return found


@pytest.fixture(scope="module")
def result(given, shallow, tmp_path_factory) -> DeepResult:
    return ran(tmp_path_factory.mktemp("deep"), given, shallow, ensemble=0.5, mix=1)


def read(given: Examples, result: DeepResult) -> Pairs:
    """As a trunk and a backbone tell it."""
    trunk = session.create(cuts.trunk(deep.GRAPH, result.cut))
    return Pairs(trunk.run(None, {"pixels": deep.pixels(COUNT)})[0], given.embeddings)


def graph_of(given: Examples, result: DeepResult, program: HeadProgram | None = None) -> bytes:
    made = program or result.program
    return deep_export.to_onnx(made, result.tail, result.cut, deep.WIDTH, given.classes, {})


def test_it_is_half_of_what_each_says(given, shallow, result):
    """In calibrated logits, of everything that is asked."""
    (ensemble, *_) = result.program.steps
    assert isinstance(ensemble, Ensemble) and result.hyperparameters["ensemble"] == 0.5
    assert "no ensemble" not in result.note
    tail, winner = ensemble.members
    assert (tail.width, winner.width, winner.weight) == (deep.WIDTH, shallow.reads, 0.5)
    alone = [
        programs.run(HeadProgram(m.steps), x)
        for m, x in zip(ensemble.members, (result.pooled, given.embeddings), strict=True)
    ]
    together = programs.run(HeadProgram((ensemble,)), result.read[np.arange(COUNT)])
    np.testing.assert_allclose(together, tail.weight * alone[0] + 0.5 * alone[1], rtol=1e-4, atol=1e-4)
    calibrated = programs.run(HeadProgram(shallow.program.steps[:-1]), given.embeddings)
    np.testing.assert_allclose(alone[1], calibrated, rtol=1e-5)


def test_what_is_exported_reads_a_tap_and_an_embedding(given, result):
    """As torch computes it, one by one and together; what inputs are compared by is the tail's alone."""
    graph, told = graph_of(given, result), read(given, result)
    head = Head.from_bytes(graph)
    assert isinstance(head, DeepHead) and head.beside == deep.WIDTH + MORE
    said = head.answer(told)
    wanted = programs.run(result.program, result.read[np.arange(COUNT)])
    np.testing.assert_allclose(said.arrays["probabilities"], wanted, atol=2e-2)  # taps are trained on in halves
    assert said.pooled is not None and said.pooled.shape == (COUNT, deep.WIDTH)
    alone = np.concatenate([head.answer(told[n]).arrays["probabilities"] for n in range(8)])
    np.testing.assert_allclose(said.arrays["probabilities"][:8], alone, atol=1e-6)


def test_it_is_proved_as_others_are(given, result):
    """The graph against torch; one with another weight is refused."""

    def in_torch(probes: Pairs, dtype: Any) -> np.ndarray:
        return np.concatenate([interpreter.run(result.tail, probes.taps, dtype), probes.embeddings], axis=1)

    told, schema = read(given, result), Schema(tuple(given.classes), {})
    proof = verify.verify_deep(graph_of(given, result), result.program, told, in_torch, given.task, schema)
    assert proof["max_difference"] < 1e-4
    ensemble, *others = result.program.steps
    other = replace(ensemble, members=(replace(ensemble.members[0], weight=0.1), ensemble.members[1]))
    wrong = graph_of(given, result, HeadProgram((other, *others)))
    with pytest.raises(ParityError):
        verify.verify_deep(wrong, result.program, told, in_torch, given.task, schema)


def test_weights_are_compared_by_what_was_not_seen(given, shallow, tmp_path):
    """A row for each; of the start alone none, as nothing was trained that could be added."""
    found = ran(tmp_path, given, shallow, ensemble="auto")
    assert {row["ensemble"] for row in found.table if row["mix"]} == set(ensembles.WEIGHTS)
    assert {row["ensemble"] for row in found.table if not row["mix"]} == {0.0}
    assert found.hyperparameters["ensemble"] == found.table[0]["ensemble"] > 0  # the winner knows more than any tail
    assert found.evidence["merit_deep"] >= 0.8


@pytest.mark.parametrize("task", ["multilabel", "regression"])
def test_labels_of_their_own_and_numbers_have_it_too(tmp_path, task):
    """In calibrated logits of each label; of numbers in the units that they are fitted in."""
    each = {"regression": str, "multilabel": lambda label: json.dumps([str(label), "odd"][: 1 + label % 2])}[task]
    given = examples(task, [each(int(label)) for label in deep.labels(COUNT)])
    shallow = raced(given)
    found = ran(tmp_path, given, shallow, ensemble=0.75, mix=1)
    program, rows = found.program, found.read[np.arange(COUNT)]
    said = Head.from_bytes(graph_of(given, found)).answer(read(given, found)).arrays
    wanted = given.task.answers(programs.run(program, rows))
    for name, array in wanted.items():
        np.testing.assert_allclose(said[name], array, atol=3e-2 * max(1.0, np.abs(array).max()))
    winner = given.task.answers(programs.run(shallow.program, given.embeddings))
    apart = [np.abs(a - b).mean() for a, b in zip(wanted.values(), winner.values(), strict=True)]
    assert max(apart) < 0.5, "three quarters of what is said are the winner's"


def test_who_says_what_is_trained_gets_one_network(given, shallow, tmp_path):
    found = ran(tmp_path, given, shallow)
    assert found.beside is None and found.read is found.pooled
    assert deep_export.reads_beside(found.program, deep.WIDTH) == 0
    assert {row["ensemble"] for row in found.table} == {0.0}


def test_what_goes_on_from_a_version_has_no_winner_beside_it(given, shallow, tmp_path):
    """The version stands in its place."""
    checked = recipe.check(FEW)
    start = Starts(given.pooled(), shallow, checked, 0, lambda: None)
    tail = cuts.floated(cuts.tail(deep.GRAPH, cuts.named(cuts.find(deep.GRAPH, images(SIDE)), "a.1")))
    found = ran(tmp_path, given, shallow, begin=Begin(tail, start), ensemble="auto")
    assert {row["ensemble"] for row in found.table} == {0.0}


def test_one_that_is_asked_for_and_cannot_be_had_is_told_of(given, shallow, tmp_path):
    """A race that compared a sample did not ask its winner about every example."""
    some = slice(len(shallow.index) // 2)
    of_some = replace(
        shallow, index=shallow.index[some], said=shallow.said[some], losses=shallow.losses[some],
        outputs={name: array[some] for name, array in shallow.outputs.items()},
    )  # fmt: skip
    found = ran(tmp_path, given, of_some, ensemble=0.5, mix=1)
    assert found.hyperparameters["ensemble"] == 0 and found.beside is None and "no ensemble" in found.note


def test_who_was_not_asked_about_an_example_has_no_say(shallow):
    assert ensembles.said(shallow, shallow.index[::-1]) is not None
    assert ensembles.said(shallow, np.array([0, 10_000])) is None
    np.testing.assert_array_equal(ensembles.said(shallow, shallow.index[3:5]), shallow.said[3:5])


def made() -> HeadProgram:
    random = np.random.default_rng(0)
    one = Linear(random.normal(size=(4, 3)).astype(np.float32), np.zeros(3, np.float32))
    other = Linear(random.normal(size=(6, 3)).astype(np.float32), np.ones(3, np.float32))
    ensemble = Ensemble((Member((Power(0.5), one), 4, 0.25), Member((L2Normalize(), other), 6, 0.75)))
    shift = Affine(np.ones(3, np.float32), np.full(3, 2, np.float32))
    far = (Linear(random.normal(size=(4, 1)).astype(np.float32), np.zeros(1, np.float32)),)
    return HeadProgram((ensemble, shift, Softmax()), far)


def test_a_program_with_one_is_stored_and_exported():
    """The same numbers from bytes, and from a graph; novelty reads the first member's columns."""
    program, rows = made(), np.random.default_rng(1).normal(size=(9, 10)).astype(np.float32)
    again = programs.from_bytes(programs.to_bytes(program))
    assert programs.to_bytes(again) == programs.to_bytes(program) and programs.reads(again) == 10
    wanted = programs.run(program, rows)
    np.testing.assert_array_equal(programs.run(again, rows), wanted)
    x = [rows[:, :4], rows[:, 4:]]
    parts = [
        member.weight * programs.run(HeadProgram(member.steps), each)
        for member, each in zip(program.steps[0].members, x, strict=True)
    ]
    np.testing.assert_allclose(programs.run(HeadProgram(program.steps[:1]), rows), sum(parts), rtol=1e-5)
    opened = session.create(export.to_onnx(program, 10, ["a", "b", "c"], {}))
    said, far = opened.run(["probabilities", "novelty"], {"embedding": rows})
    np.testing.assert_allclose(said, wanted, atol=1e-6)
    np.testing.assert_allclose(far, programs.novelty(program, rows), atol=1e-5)


def test_bytes_that_are_no_program_stay_refused():
    with pytest.raises(CorruptArtifact):
        programs.from_bytes(programs.to_bytes(made())[:-40])


@pytest.mark.parametrize(
    ("asked", "weight"),
    [
        ({}, "auto"), ({"deep": "only"}, "auto"), ({"method": "deep"}, None), ({"keep_examples": False}, 0.0),
        ({"method": "deep", "hyperparameters": {"ensemble": 0.5}}, 0.5),
        ({"method": "deep", "hyperparameters": {"epochs": 2}, "keep_examples": False}, 0.0),
    ],
)  # fmt: skip
def test_who_leaves_it_to_us_gets_what_answers_best(asked, weight):
    """And who says what is trained gets that: one network, unless it is asked for."""
    job: Any = SimpleNamespace(request=JobRequest("signs", **asked))
    assert stage._hyperparameters(job).get("ensemble") == weight
