"""Live heads: loaded once, kept within a bound, swapped only for what can be loaded."""

import asyncio
import concurrent.futures
import gc
import threading
from pathlib import Path

import numpy as np
import pytest

from adapters.decoding import Decoder
from adapters.errors import CorruptArtifact, HeadNotFound, NotEnoughHeldOut, StaleReplica, VersionNotFound
from adapters.runtime.heads.live import LiveHeads
from adapters.store import database, heads, jobs, publishing
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.training.publish import export
from adapters.trust import Terms
from adapters.types import HeadProgram, HeadRef, JobRequest, Linear, Softmax

X = np.ones((1, 4), np.float32)


class Shelf:
    """A database and a folder with heads in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.engine = database.connect(f"sqlite:///{folder / 'espalier.sqlite'}")
        database.migrate(self.engine)
        self.artifacts = Artifacts(str(folder))
        self.count = 0

    def publish(self, head: str, deploy: str = "auto") -> str:
        """A new version whose graph is unlike all others; returns its digest."""
        self.count += 1
        weight = np.array([[self.count, 0]] * 4, np.float32) / 10
        program = HeadProgram((Linear(weight, np.zeros(2, np.float32)), Softmax()))
        digest = self.artifacts.put(export.to_onnx(program, 4, ["a", "b"], {}))
        request = JobRequest(head, deploy=deploy)
        job = jobs.create(self.engine, request, [], fingerprint="")
        manifest = {"backbone": {"digest": "b"}, "classes": ["a", "b"], "task": "classification"}
        live = heads.find_live(self.engine, head)
        expected = live.number if live else None
        publishing.publish(self.engine, Publication(job.id, request, digest, manifest, {}, {}, [], False, expected))
        return digest

    def live(self, max_bytes: int = 2**30, pinned: tuple[HeadRef, ...] = ()) -> LiveHeads:
        return LiveHeads(self.engine, self.artifacts, max_bytes=max_bytes, pinned=pinned, poll=0.01)

    def path(self, digest: str) -> Path:
        return self.folder / "blobs" / digest[:2] / digest


@pytest.fixture
def shelf(tmp_path):
    made = Shelf(tmp_path)
    yield made
    made.engine.dispose()


def test_a_head_is_loaded_at_its_first_use_and_then_at_hand(shelf):
    digest = shelf.publish("cats")
    live = shelf.live()
    ref = HeadRef("cats")
    assert live.peek(ref) is None
    found = live.get(ref)
    assert found.version.digest == digest and found.classes == ("a", "b")
    assert found.head.answer(X).arrays["probabilities"].sum() == pytest.approx(1)
    assert live.peek(ref) == found and live.get(ref) == found and live.loads == 1


def test_a_version_from_before_novelty_serves_and_promises_nothing(shelf):
    shelf.publish("cats")
    found = shelf.live().get(HeadRef("cats"))
    assert found.head.answer(X).novelty is None and found.terms(None, None) == Terms()
    with pytest.raises(NotEnoughHeldOut, match="head 'cats', version 1"):
        found.terms(0.9, None)
    said = Decoder.of([found], [Terms()], [found.head.answer(X)], 5)([(0, 0)])
    assert said[0].answer["novelty"] is None


def test_a_swap_is_seen_at_the_next_look_and_not_before(shelf):
    shelf.publish("cats")
    live = shelf.live()
    old = live.get(HeadRef("cats"))
    shelf.publish("cats")
    assert live.get(HeadRef("cats")).version.number == 1
    live.refresh()
    assert live.peek(HeadRef("cats")).version.number == 2, "it must be loaded before it is shown"
    assert old.head.answer(X).arrays["probabilities"].shape == (1, 2), (
        "requests that began on the old version finish on it"
    )
    assert live.get(HeadRef("cats", version=1)).version.number == 1
    assert live.generation == heads.current_generation(shelf.engine)


def test_a_hundred_requests_for_a_cold_head_load_it_once(shelf):
    shelf.publish("cats")
    live = shelf.live()
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        found = list(pool.map(lambda _: live.get(HeadRef("cats")), range(100)))
    assert live.loads == 1 and len({id(f.head) for f in found}) == 1


def test_memory_is_bounded_by_bytes_and_the_least_recently_used_goes(shelf):
    for name in "abc":
        shelf.publish(name)
    gc.collect()  # heads of tests before this one, whose session would be shared
    first = shelf.live().get(HeadRef("a"))  # which holds the session that the others share, and counts it
    size = shelf.live().get(HeadRef("b")).head.bytes
    assert first.head.bytes > size
    live = shelf.live(max_bytes=2 * size + size // 2)
    for name in ("a", "b", "a", "c"):
        live.get(HeadRef(name))
    count, held = live.loaded()
    assert (count, held, live.evictions) == (2, 2 * size, 1)
    assert live.peek(HeadRef("a")) and live.peek(HeadRef("c")) and live.peek(HeadRef("b")) is None
    assert live.get(HeadRef("b")).version.number == 1, "what was evicted is loaded again"


def test_a_head_larger_than_the_bound_is_served_all_the_same(shelf):
    shelf.publish("a")
    live = shelf.live(max_bytes=1)
    assert live.get(HeadRef("a")).head.answer(X).arrays["probabilities"].shape == (1, 2) and live.loaded()[0] == 1


@pytest.mark.parametrize("harm", ["missing", "altered", "no graph"])
def test_a_version_that_cannot_be_loaded_keeps_the_old_one_and_is_tried_again(shelf, harm):
    shelf.publish("cats")
    shelf.publish("dogs")
    live = shelf.live()
    live.get(HeadRef("cats"))
    live.get(HeadRef("dogs"))
    digest = shelf.publish("cats")
    shelf.publish("dogs")
    sound = shelf.path(digest).read_bytes()
    if harm == "missing":
        shelf.path(digest).unlink()
    else:
        shelf.path(digest).write_bytes(b"nonsense" if harm == "no graph" else sound + b"\0")
    live.refresh()
    assert live.peek(HeadRef("cats")).version.number == 1
    assert live.peek(HeadRef("dogs")).version.number == 2, "another head's harm is not ours"
    with pytest.raises(CorruptArtifact):
        live.get(HeadRef("cats", version=2))
    shelf.path(digest).write_bytes(sound)
    live.refresh()
    assert live.peek(HeadRef("cats")).version.number == 2


def test_what_is_gone_is_not_found_at_the_next_look(shelf):
    shelf.publish("cats")
    live = shelf.live()
    live.get(HeadRef("cats"))
    heads.delete(shelf.engine, "cats")
    live.refresh()
    with pytest.raises(HeadNotFound):
        live.get(HeadRef("cats"))


def test_names_numbers_and_aliases_resolve(shelf):
    shelf.publish("cats")
    shelf.publish("cats", deploy="manual")
    heads.set_alias(shelf.engine, "cats", "canary", 2)
    live = shelf.live()
    refs = (HeadRef("cats"), HeadRef("cats", version=2), HeadRef("cats", alias="canary"))
    assert [live.get(ref).version.number for ref in refs] == [1, 2, 2]
    assert live.loads == 2, "one version under two names is one graph in memory"
    with pytest.raises(VersionNotFound):
        live.get(HeadRef("cats", alias="none"))


def test_a_generation_that_was_asked_for_is_caught_up_with_or_refused(shelf):
    shelf.publish("cats")
    live = shelf.live()
    live.get(HeadRef("cats"))
    shelf.publish("cats")
    asyncio.run(live.catch_up(2, ["cats"]))
    assert live.peek(HeadRef("cats")).version.number == 2
    with pytest.raises(StaleReplica, match="generation is 2, not yet 3"):
        asyncio.run(live.catch_up(3, ["cats"]))
    live.stop()


def test_no_older_version_answers_who_has_seen_the_newest(shelf):
    """It could not be loaded when it was published: whoever asks for it waits, and others get the old one."""
    shelf.publish("cats")
    shelf.publish("dogs")
    live = shelf.live()
    live.get(HeadRef("cats"))
    digest = shelf.publish("cats")
    sound = shelf.path(digest).read_bytes()
    shelf.path(digest).unlink()
    live.refresh()
    assert live.state() == (3, {"cats"}) and live.peek(HeadRef("cats")).version.number == 1

    async def main() -> None:
        await live.catch_up(3, ["dogs"])
        shelf.path(digest).write_bytes(b"damaged")
        with pytest.raises(CorruptArtifact):
            await live.catch_up(3, ["cats"])
        shelf.path(digest).unlink()
        away = asyncio.create_task(live.catch_up(3, ["cats"]))
        shelf.path(digest).write_bytes(sound)
        await away

    asyncio.run(main())
    assert live.state() == (3, frozenset()) and live.peek(HeadRef("cats")).version.number == 2
    live.stop()


def test_what_is_evicted_leaves_nothing_behind_and_is_looked_up_anew(shelf):
    """Routes and manifests go with the head; the alias that moved meanwhile is seen without another look."""
    for name in "ab":
        shelf.publish(name)
    live = shelf.live(max_bytes=1)
    live.get(HeadRef("a"))
    live.get(HeadRef("a", version=1))
    live.get(HeadRef("b"))
    assert set(live._routes) == {HeadRef("b")} and len(live._refs) == 1
    shelf.publish("a")
    assert live.get(HeadRef("a")).version.number == 2


def test_pinned_heads_are_loaded_at_start_and_never_evicted(shelf):
    """Also one that is taught later, and the newest version of each."""
    for name in "abc":
        shelf.publish(name)
    live = shelf.live(max_bytes=1, pinned=(HeadRef("a"), HeadRef("later")))
    live.start()
    while live.peek(HeadRef("a")) is None:
        threading.Event().wait(0.001)
    for name in "bcb":
        live.get(HeadRef(name))
    assert live.peek(HeadRef("a")) and live.peek(HeadRef("b")) and live.peek(HeadRef("c")) is None
    shelf.publish("a")
    shelf.publish("later")
    while live.peek(HeadRef("later")) is None or live.peek(HeadRef("a")).version.number != 2:
        threading.Event().wait(0.001)
    live.stop()
    assert not [t for t in threading.enumerate() if t.name.startswith(("live-heads", "cold-head"))]


def test_a_change_between_asking_and_loading_is_not_missed(shelf, monkeypatch):
    """The database is asked, then a version is published and a look happens, then the head is put on show."""
    shelf.publish("cats")
    live = shelf.live()
    load = live._load

    def slow(version):
        monkeypatch.setattr(live, "_load", load)
        found = load(version)
        shelf.publish("cats")
        live.refresh()
        return found

    monkeypatch.setattr(live, "_load", slow)
    assert live.get(HeadRef("cats")).version.number == 2 == live.peek(HeadRef("cats")).version.number


def test_a_cold_head_holds_up_no_other_and_is_fetched_once(shelf):
    """A hundred requests wait for one that loads slowly, some leave, and another head is there at once."""
    for name in ("slow", "quick"):
        shelf.publish(name)
    live, gate = shelf.live(), threading.Event()
    get, asked = live.get, []

    def slow(ref):
        asked.append(ref.name)
        if ref.name == "slow":
            assert gate.wait(30)
        return get(ref)

    live.get = slow

    async def main() -> None:
        waiting = [asyncio.create_task(live.fetch(HeadRef("slow"))) for _ in range(100)]
        assert (await live.fetch(HeadRef("quick"))).version.head == "quick"
        for task in waiting[:50]:
            task.cancel()
        await asyncio.sleep(0)
        gate.set()
        found = await asyncio.gather(*waiting[50:])
        assert {f.version.head for f in found} == {"slow"} and sorted(asked) == ["quick", "slow"]
        with pytest.raises(HeadNotFound):
            await live.fetch(HeadRef("none"))
        assert not live._fetching

    asyncio.run(main())
    live.stop()


def test_versions_that_were_replaced_and_deleted_heads_leave_memory(shelf):
    live = shelf.live()
    for _ in range(4):
        shelf.publish("cats")
        live.refresh()
        live.get(HeadRef("cats"))
    assert live.loaded()[0] == 1
    live.get(HeadRef("cats", version=2))  # what somebody still asks for by its number stays
    shelf.publish("dogs")
    live.refresh()
    live.get(HeadRef("dogs"))
    assert live.loaded()[0] == 3
    heads.delete(shelf.engine, "cats")
    live.refresh()
    assert live.loaded()[0] == 1
    heads.delete(shelf.engine, "dogs")
    live.refresh()
    assert live.loaded() == (0, 0)
