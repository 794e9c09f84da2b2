"""Deep versions in roll-outs, among samples and suggestions: all of these read what they can compare."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.deep import TinyCut
from support.served_deep import BOTH, BYTES, CLASSES, FLOAT, Served, picture
from support.services import eventually

from adapters import predict, suggest
from adapters.monitoring import comparing, hard
from adapters.monitoring.comparing import Comparison
from adapters.monitoring.sampler import Sampler
from adapters.rollout.facts import Counts, Limits, Rollout, Rules
from adapters.runtime import passes
from adapters.runtime.heads.loaded import Trial
from adapters.store import heads
from adapters.store.embeddings import EmbeddingCache
from adapters.store.rollouts import control, rows
from adapters.store.sampling import switches
from adapters.store.schema import samples
from adapters.types import HeadRef

GUARD = Rules(roll_back_when=Limits(20, errors=0.02))
IMAGES = [picture(seed) for seed in range(12)]


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.close()


def published(served: Served, kind: str, seed: int, **options: Any) -> int:
    """A version of `cats`: shallow, or deep at a cut."""
    if kind == "shallow":
        return served.shallow("cats", seed, **options)
    return served.deep("cats", seed, {"deep": FLOAT, "bytes": BYTES, "both": BOTH}[kind], **options)


def rolled_out(served: Served, live: str, candidate: str, mode: str, weight: float) -> None:
    published(served, live, 1)
    number = published(served, candidate, 2, deploy="manual")
    served(["cats"], IMAGES[:1])
    control.begin(served.engine, Rollout("", "cats", number, 0, mode, weight, GUARD))
    served.predictor.live.refresh()
    served.counted.clear()


def counted(served: Served, comparisons: int) -> Counts:
    """What is in the database once so many comparisons are."""

    def look() -> bool:
        served.monitor._report()
        return rows.last(served.engine, "cats").counts.compared >= comparisons

    eventually(look)
    return rows.last(served.engine, "cats").counts


def disagreed(served: Served, images: list[bytes]) -> int:
    """To how many the two versions give other labels, asked by their numbers."""
    answers = [[said["label"] for *_, said in served([f"cats@{n}"], images)] for n in (1, 2)]
    return sum(one != other for one, other in zip(*answers, strict=True))


PAIRS = [("shallow", "deep"), ("deep", "shallow"), ("deep", "bytes"), ("bytes", "deep")]
PAIRS += [("both", other) for other in ("shallow", "deep", "bytes")] + [("shallow", "both"), ("bytes", "both")]


@pytest.mark.slow
@pytest.mark.parametrize(("live", "candidate"), PAIRS)
@pytest.mark.parametrize("mode", ["canary", "shadow"])
def test_versions_that_read_different_things_are_compared_on_the_same_inputs(
    served, live, candidate, mode, monkeypatch
):
    monkeypatch.setattr(comparing, "MOST_A_SECOND", 10_000)
    rolled_out(served, live, candidate, mode, 1.0)
    for image in IMAGES:
        found = asyncio.run(served.ask(["cats"], [image])).predictions[0]
        assert found.head.version.number == (1 if mode == "shadow" else 2)
    counts = counted(served, len(IMAGES))
    assert (counts.compared, counts.candidate.asked, counts.candidate.errors) == (12, 12, 0)
    assert counts.disagreed == disagreed(served, IMAGES)


@pytest.mark.parametrize(
    ("live", "candidate", "passes"),
    [("shallow", "deep", 1), ("deep", "bytes", 2), ("both", "shallow", 1), ("deep", "both", 1)],
)
def test_a_comparison_costs_no_pass_of_its_own_where_one_tells_both(served, live, candidate, passes):
    rolled_out(served, live, candidate, "shadow", 1.0)
    served(["cats"], IMAGES[:1])
    counted(served, 1)
    assert served.counted["passes"] == passes


@pytest.mark.parametrize("kind", ["trunk", "whole"])
def test_one_that_reads_both_answers_without_the_graph_that_tells_both(served, kind):
    """Embedding and tap are told one by one where that is damaged; without the trunk the whole tells them."""
    published(served, "both", 3)
    (wanted,) = served(["cats"], IMAGES[:1])
    deep = heads.resolve(served.engine, HeadRef("cats", version=1)).manifest["deep"]
    served.predictor.batchers.clear()
    served.predictor.backbones._sessions.clear()
    served.spoil(deep[kind])
    (found,) = served(["cats"], IMAGES[:1])
    assert found[2]["label"] == wanted[2]["label"] and found[2]["score"] == pytest.approx(wanted[2]["score"], abs=1e-6)


def test_who_is_not_compared_runs_what_it_reads_only(served):
    """Live's turn: nobody asks the candidate, and nothing is run for it."""
    rolled_out(served, "shallow", "deep", "canary", 0.0)
    served(["cats"], IMAGES[:1])
    assert served.counted["passes"] == 1 and list(served.predictor.batchers) == [served.base.digest]


def test_a_deep_candidate_that_fails_is_stood_in_for_by_live(served):
    rolled_out(served, "shallow", "deep", "canary", 1.0)
    head = served.predictor.live.get(HeadRef("cats", version=2)).head
    head.answer = lambda taps: 1 / 0
    found = asyncio.run(served.ask(["cats"], IMAGES)).predictions
    assert {p.head.version.number for p in found} == {1} and len(found) == len(IMAGES)
    served.monitor._report()
    counts = rows.last(served.engine, "cats").counts
    assert (counts.candidate.asked, counts.candidate.errors) == (1, 1)


def test_a_deep_candidate_whose_trunk_is_damaged_is_stood_in_for_by_live(served):
    rolled_out(served, "shallow", "deep", "canary", 1.0)
    deep = heads.resolve(served.engine, HeadRef("cats", version=2)).manifest["deep"]
    for digest in (deep["trunk"], deep["whole"]):
        served.spoil(digest)
    found = asyncio.run(served.ask(["cats"], IMAGES[:2])).predictions
    assert {p.head.version.number for p in found} == {1}


def test_a_shadow_whose_trunk_is_damaged_fails_what_it_is_asked(served):
    """As one that cannot be loaded: by its rules it is rolled back, and not left uncompared for ever."""
    rolled_out(served, "shallow", "deep", "shadow", 1.0)
    deep = heads.resolve(served.engine, HeadRef("cats", version=2)).manifest["deep"]
    for digest in (deep["trunk"], deep["whole"]):
        served.spoil(digest)
    for image in IMAGES[:3]:
        assert len(served(["cats"], [image])) == 1
    served.monitor._report()
    counts = rows.last(served.engine, "cats").counts
    assert (counts.live.asked, counts.candidate.asked, counts.candidate.errors, counts.dropped) == (3, 3, 3, 0)


def test_comparisons_with_deep_versions_are_fewer(served, monkeypatch):
    """As their work is that of many shallow ones."""
    published(served, "shallow", 1)
    other = served.predictor.live.get(HeadRef("cats"))
    of_shallow = comparing.Comparer(lambda *_: None)
    monkeypatch.setattr(comparing.time, "monotonic", lambda: 7.0)
    monkeypatch.setattr(comparing, "MOST_WAITING", 10_000)
    monkeypatch.setattr(comparing, "compared", lambda comparison: Counts())
    served.deep("cats", 2, TinyCut(share=0.5))
    served.predictor.live.refresh()
    deep = served.predictor.live.get(HeadRef("cats"))
    of_deep = comparing.Comparer(lambda *_: None)
    taken = []
    for comparer, asked in ((of_shallow, other), (of_deep, deep)):
        comparison = Comparison(with_other(deep, asked), {}, np.zeros(4, np.float32))
        taken.append(sum(comparer.offer(comparison) for _ in range(200)))
        comparer.close()
    assert taken == [100, 4]


def with_other(head: Any, other: Any) -> Any:
    rollout = Rollout("id", "cats", 2, 1, "shadow", 1.0, GUARD)
    return replace(head, trial=Trial(rollout, "live", other, True))


# Samples


def test_hard_inputs_of_a_deep_version_are_compared_by_its_own_tail(served):
    """What its graph calls `embedding`; samples of another version are like nothing that can be compared."""
    served.deep("cats", 3)
    sampler = Sampler(served.engine, served.artifacts, every=3600)
    served.predictor.sampler = sampler
    switches.switch_on(served.engine, "cats", 50, 30.0)
    sampler.look()
    served(["cats"], IMAGES)
    waiting = list(sampler._queue.items)
    assert waiting, "none of them is hard"
    version = heads.resolve(served.engine, HeadRef("cats"))
    head = served.predictor.live.get(HeadRef("cats")).head
    for item in waiting:
        embedded = asyncio.run(tap(served, item.data))
        np.testing.assert_allclose(item.embedding, head.answer(embedded).pooled[0], rtol=1e-5)
        assert item.space == version.digest
    sampler.look()
    with served.engine.connect() as connection:
        kept = connection.execute(samples.select()).all()
    assert kept and {row.backbone for row in kept} == {version.digest}


def test_hard_inputs_of_two_versions_that_answer_are_all_kept(served, monkeypatch):
    """Each sees them in its own way, so they are compared with those of the same version."""
    monkeypatch.setattr(hard, "UNSURE", 0.0)  # all of them are
    for seed in (3, 4):
        served.deep("cats", seed)
    sampler = Sampler(served.engine, served.artifacts, every=3600)
    served.predictor.sampler = sampler
    switches.switch_on(served.engine, "cats", 50, 30.0)
    sampler.look()
    for number, images in ((1, IMAGES[:6]), (2, IMAGES[6:])):
        served([f"cats@{number}"], images)
    spaces = {item.space for item in sampler._queue.items}
    assert len(spaces) == 2
    sampler.look()
    with served.engine.connect() as connection:
        assert {row.backbone for row in connection.execute(samples.select())} == spaces


async def tap(served: Served, data: bytes) -> np.ndarray:
    """What the trunk tells of an input."""
    live = served.predictor.live.get(HeadRef("cats"))
    found = await predict.embed_for(served.predictor, [data], passes.plan([], [live.deep]), "fail", "cats")
    return found[live.source].embeddings


# Suggestions


def test_inputs_are_suggested_by_what_the_backbone_sees_and_the_deep_head_says(served):
    """One pass tells both, and what is taught is found among embeddings of the backbone."""
    served.deep("cats", 3)
    served.shallow("dogs", 4)
    served.counted.clear()
    found = asyncio.run(suggest.suggest(served.predictor, served.engine, IMAGES, HeadRef("cats"), 4))
    assert served.counted["passes"] == len(IMAGES)
    answers = served(["cats"], IMAGES)
    said = [answer["label"] for *_, answer in answers]
    assert [answer["label"] for answer in found.answers] == [said[index] for index in found.indices]
    beside = asyncio.run(suggest.suggest(served.predictor, served.engine, IMAGES, HeadRef("dogs"), 4))
    assert beside.indices == found.indices, "typical ones are typical of the inputs, whatever the head"
    assert EmbeddingCache(served.engine, served.base.digest).missing(["0" * 64])
    assert set(said) <= set(CLASSES) and json.dumps(found.explanation)
