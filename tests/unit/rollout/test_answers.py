"""Answers while a roll-out is under way: whose they are, who stands in, and what is counted."""

import asyncio
import io
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.graphs import DIMENSION, TINY, tiny
from support.services import eventually

from adapters.errors import BackboneDamaged
from adapters.monitoring import comparing
from adapters.monitoring.monitor import Monitor
from adapters.predict import Predictions, Predictor, predict
from adapters.rollout.facts import Asked, Counts, Limits, Rollout, Rules
from adapters.runtime.backbone import Backbones
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.meters import Meters
from adapters.runtime.queueing.traffic import Traffic
from adapters.store import database, heads, jobs, publishing
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.store.rollouts import control, rows
from adapters.training.publish import export
from adapters.types import HeadProgram, HeadRef, JobRequest, Linear, Softmax
from service.intake import forms

NEAR, FAR = "n" * 64, "f" * 64  # two backbones
GUARD = Rules(roll_back_when=Limits(20, errors=0.02))
CLASSES = ("a", "b")


def picture(seed: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(file, "BMP")
    return file.getvalue()


class Served:
    """A predictor that follows a database when told to; the head `cats` says a in version 1, b in 2, and so on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = database.connect(f"sqlite:///{folder / 'espalier.sqlite'}")
        database.migrate(self.engine)
        self.artifacts = Artifacts(str(folder))
        self.passes = 0
        meters = Meters(backbone_seconds=self._passed)
        backbones = Backbones(lambda digest: (replace(TINY, digest=digest), tiny()))
        live = LiveHeads(self.engine, self.artifacts, max_bytes=2**30)
        self.monitor = Monitor(self.engine, every=3600)
        traffic = Traffic(2, 10_000, 2**30, 60.0, meters)
        self.predictor = Predictor(live, backbones, traffic, monitor=self.monitor)

    def _passed(self, _: float) -> None:
        self.passes += 1

    def publish(self, head: str, answer: str, *, backbone: str = NEAR, reads: int = DIMENSION, **options: Any) -> int:
        """A version that always gives one answer; one that reads more than there is loads, and fails when asked."""
        bias = np.array([4.0 * (name == answer) for name in CLASSES], np.float32)
        novel = (Linear(np.zeros((reads, 1), np.float32), np.array([options.pop("novelty", 0.5)], np.float32)),)
        program = HeadProgram((Linear(np.zeros((reads, 2), np.float32), bias), Softmax()), novel)
        digest = self.artifacts.put(export.to_onnx(program, reads, CLASSES, {"of": f"{head}{answer}{next(COUNT)}"}))
        request = JobRequest(head, deploy=options.pop("deploy", "manual"))
        job = jobs.create(self.engine, request, [], fingerprint="")
        trust = {"novelty": {}, "held_out": 0}
        manifest = {"backbone": {"digest": backbone}, "classes": CLASSES, "task": "classification", "trust": trust}
        live = heads.find_live(self.engine, head)
        made = Publication(job.id, request, digest, manifest, {}, {}, [], False, live and live.number)
        return publishing.publish(self.engine, made)

    def roll_out(self, version: int, head: str = "cats", **changes: Any) -> str:
        wanted = replace(Rollout("", head, version, 0, "canary", 0.5, GUARD), **changes)
        started, _ = control.begin(self.engine, wanted)
        self.predictor.live.refresh()
        return started.id

    async def ask(self, names: list[str], images: list[bytes], **options: Any) -> Predictions:
        refs = [forms.head_ref(name) for name in names]
        return await predict(self.predictor, images, refs, **{"timeout": 60.0} | options)

    def __call__(self, names: list[str], images: list[bytes], **options: Any) -> list[tuple[str, int, str]]:
        """(head, version, label) of one request."""
        found = asyncio.run(self.ask(names, images, **options))
        return [(p.head.version.head, p.head.version.number, p.answer["label"]) for p in found.predictions]

    def keyed(self, keys: range, **options: Any) -> Counter:
        """How often each (version, label) answered requests with so many keys."""

        async def main() -> list[Predictions]:
            return [await self.ask(["cats"], [IMAGE], sticky=f"key {n}", **options) for n in keys]

        rows = [found.predictions[0] for found in asyncio.run(main())]
        return Counter((p.head.version.number, p.answer["label"]) for p in rows)

    def counted(self, head: str = "cats") -> Counts:
        """What is in the database once all that was counted is there."""
        self.monitor._report()
        return rows.last(self.engine, head).counts


COUNT = iter(range(10**6))
IMAGE = picture(0)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    made.publish("cats", "a", deploy="auto")
    made.publish("cats", "b")
    made.publish("dogs", "a", deploy="auto")
    yield made
    made.predictor.close()
    made.engine.dispose()


def test_each_request_is_wholly_one_versions_and_as_many_are_the_candidates_as_the_weight_says(served):
    """Within five standard deviations; the answer names the version whose it is."""
    served.roll_out(2, weight=0.2)
    found = served.keyed(range(1000))
    assert found.keys() == {(1, "a"), (2, "b")}
    assert abs(found[2, "b"] - 200) < 5 * math.sqrt(0.2 * 0.8 * 1000)
    counts = served.counted()
    assert (counts.live, counts.candidate) == (Asked(found[1, "a"]), Asked(found[2, "b"]))


def test_the_same_key_and_without_one_the_same_images_are_answered_by_the_same_version(served):
    served.roll_out(2)
    for key in ("x", "y", "z", "w"):
        assert len({tuple(served(["cats"], [picture(n)], sticky=key)) for n in range(5)}) == 1
    images = [picture(n) for n in range(20)]
    once = [served(["cats"], [image]) for image in images]
    assert [served(["cats"], [image]) for image in images] == once
    assert {version for ((_, version, _),) in once} == {1, 2}


def test_only_who_asks_for_live_takes_part(served):
    """A version or another alias that is named answers."""
    heads.set_alias(served.engine, "cats", "old", 1)
    served.roll_out(2, weight=0.999999)
    assert served(["cats", "cats@live", "cats@1", "cats@old", "cats@2"], [IMAGE]) == [
        ("cats", number, label) for number, label in ((2, "b"), (2, "b"), (1, "a"), (1, "a"), (2, "b"))
    ]
    assert served.counted().candidate.asked == 2, "the two of the roll-out"


def test_heads_of_a_request_share_a_pass_also_where_one_is_rolled_out(served):
    served.roll_out(2, weight=0.999999)
    served(["cats", "dogs", "cats@1"], [IMAGE])
    assert served.passes == 1
    number = served.publish("cats", "b", backbone=FAR)
    served.roll_out(number, weight=0.999999)
    assert served(["cats", "dogs"], [IMAGE]) == [("cats", number, "b"), ("dogs", 1, "a")]
    assert served.passes == 3, "a candidate on another backbone needs a pass of its own"


def test_a_candidate_that_fails_fails_nobody(served):
    """Live answers in its place, and the failure is its own; then it is rolled back."""
    number = served.publish("cats", "b", reads=DIMENSION + 1)
    served.roll_out(number)
    assert served.keyed(range(60)).keys() == {(1, "a")}
    counts = served.counted()
    assert counts.candidate.errors == counts.candidate.asked > 10 and counts.live.errors == 0
    assert counts.live.asked + counts.candidate.asked == 60
    assert rows.last(served.engine, "cats").status == "rolled_back"
    served.predictor.live.refresh()
    assert not served.predictor.live.rollouts.running and served.keyed(range(9)) == {(1, "a"): 9}


def test_a_candidate_that_cannot_be_loaded_fails_nobody(served):
    number = served.publish("cats", "b")
    digest = heads.resolve(served.engine, HeadRef("cats", version=number)).digest
    (served.folder / "blobs" / digest[:2] / digest).write_bytes(b"broken")
    served(["cats"], [IMAGE])
    served.roll_out(number)
    assert served.keyed(range(60)).keys() == {(1, "a")}
    assert served.counted().candidate.errors > 10
    assert rows.last(served.engine, "cats").status == "rolled_back"


def test_a_candidate_that_cannot_promise_what_is_asked_for_leaves_it_to_live(served):
    """A coverage that neither can give is refused as ever."""
    served.roll_out(2, weight=0.999999)
    with pytest.raises(Exception, match="version 1"):
        served(["cats"], [IMAGE], coverage=0.9)


def test_in_the_shadow_live_answers_and_the_candidate_is_compared(served):
    served.roll_out(2, mode="shadow", weight=1.0)
    assert served.keyed(range(30)) == {(1, "a"): 30}
    counts = eventually(lambda: found if (found := served.counted()).compared == 30 else None)
    assert counts == Counts(Asked(30), Asked(30), compared=30, disagreed=30)


def test_a_shadow_that_fails_is_counted_and_seen_by_nobody(served):
    number = served.publish("cats", "b", reads=DIMENSION + 1)
    served.roll_out(number, mode="shadow", weight=1.0, rules=Rules())
    assert served.keyed(range(20)) == {(1, "a"): 20}
    counts = eventually(lambda: found if (found := served.counted()).candidate.asked == 20 else None)
    assert counts == Counts(Asked(20), Asked(20, errors=20))


def test_of_a_canary_answers_are_compared_too(served):
    """Whichever version gave the answer, the other one is asked."""
    number = served.publish("cats", "a")
    served.roll_out(number)
    found = served.keyed(range(40))
    counts = eventually(lambda: found if (found := served.counted()).compared == found.candidate.asked else None)
    assert counts.disagreed == 0 and counts.candidate.asked == found[number, "a"]


def test_comparisons_beyond_the_bound_are_left_out_and_counted(served, monkeypatch):
    monkeypatch.setattr(comparing, "MOST_A_SECOND", 5)
    served.roll_out(2, mode="shadow", weight=1.0)
    assert served.keyed(range(50)) == {(1, "a"): 50}
    counts = eventually(lambda: found if (found := served.counted()).compared + found.dropped == 50 else None)
    assert counts.dropped > 0 and counts.compared >= 5


def test_novel_inputs_are_counted_of_each_version(served):
    number = served.publish("cats", "a", novelty=0.999)
    served.roll_out(number, rules=Rules(roll_back_when=Limits(20, novelty=0.1)))
    served.keyed(range(100))
    counts = served.counted()
    assert counts.live.novel == 0 and counts.candidate.novel == counts.candidate.asked > 20
    assert rows.last(served.engine, "cats").status == "rolled_back"


def test_a_request_counts_once_however_many_images_it_brings(served):
    served.roll_out(2)
    found = served(["cats"], [picture(n) for n in range(7)])
    assert len(found) == 7 and len(set(found)) == 1, "one version answers all images of a request"
    counts = served.counted()
    assert counts.live.asked + counts.candidate.asked == 1


def test_images_that_cannot_be_read_are_nobodys_error(served):
    served.roll_out(2)
    found = asyncio.run(served.ask(["cats"], [b"no image"], on_error="skip"))
    assert found.errors and served.counted() == Counts()


def test_promotion_is_seen_at_the_next_look_and_counts_of_before_change_nothing(served):
    served.roll_out(2, rules=Rules(promote_when=Limits(20)))
    served.keyed(range(100))
    served.counted()
    assert rows.last(served.engine, "cats").status == "promoted"
    assert served.keyed(range(50)).keys() == {(1, "a"), (2, "b")}, "this replica has not looked yet"
    served.predictor.live.refresh()
    assert served.keyed(range(20)) == {(2, "b"): 20}
    counts = served.counted()
    assert counts.candidate.asked + counts.live.asked == 100, "what came after the end counts for nothing"


def test_what_was_counted_waits_for_a_database_that_is_away(served, monkeypatch):
    served.roll_out(2)
    served.keyed(range(10))

    def away(*_: object) -> bool:
        raise database.OperationalError("", {}, Exception())

    with monkeypatch.context() as patched:
        patched.setattr(control, "add", away)
        served.monitor._report()
    counts = served.counted()
    assert counts.live.asked + counts.candidate.asked == 10


def test_without_a_rollout_nothing_is_looked_up(served):
    """What a request costs then: an empty dictionary is looked at."""
    served(["cats"], [IMAGE])
    assert served.predictor.live.rollouts.running == {} and served.monitor._tally.take_trials() == {}


def test_a_candidate_whose_backbone_is_damaged_fails_nobody(served, monkeypatch):
    """Live answers with a pass of its own."""
    number = served.publish("cats", "b", backbone=FAR)
    get = served.predictor.backbones.get

    def damaged(digest: str) -> object:
        if digest == FAR:
            raise BackboneDamaged("its graph was altered in the store")
        return get(digest)

    monkeypatch.setattr(type(served.predictor.backbones), "get", lambda _, digest: damaged(digest))
    served.roll_out(number, weight=0.999999)
    assert served(["dogs", "cats"], [IMAGE]) == [("dogs", 1, "a"), ("cats", 1, "a")]
    assert served(["cats"], [IMAGE]) == [("cats", 1, "a")]
    assert served.counted().candidate == Asked(2, errors=2)
