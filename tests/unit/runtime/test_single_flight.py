"""What is slow to load is loaded once, however many ask for it at that moment: heads, their structures, backbones."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.graphs import TINY, tiny

from adapters.errors import CorruptArtifact
from adapters.runtime.backbone import Backbones
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.heads.structure import Structures, take_apart
from adapters.runtime.onnx import session
from adapters.store import database, heads, jobs, publishing
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.training.publish import export
from adapters.types import HeadProgram, HeadRef, HeadVersion, JobRequest, Linear, Softmax

CROWD = 24  # who ask at a time
SECOND = 0.3  # seconds that the first one to load gives another one to come in, who would be one too many
REF = HeadRef("cats")


class LoadBarrier:
    """Counts who loads; the first waits until the crowd has asked, and then a moment for a second."""

    def __init__(self, crowd: int = 0) -> None:
        self.entered = self.asked = 0
        self.crowd = crowd
        self._changed = threading.Condition()

    def ask(self) -> None:
        """One more of the crowd is about to come in, unless it need not."""
        with self._changed:
            self.asked += 1
            self._changed.notify_all()

    def enter(self) -> None:
        """Somebody loads."""
        with self._changed:
            self.entered += 1
            self._changed.notify_all()
            if self.entered == 1:
                self._changed.wait_for(lambda: self.entered > 1 or self.asked >= self.crowd, 10)
                self._changed.wait_for(lambda: self.entered > 1, SECOND)


def graph(value: float = 1.0) -> bytes:
    program = HeadProgram((Linear(np.full((4, 2), value, np.float32), np.zeros(2, np.float32)), Softmax()))
    return export.to_onnx(program, 4, ["a", "b"], {})


@pytest.fixture
def live(tmp_path: Path) -> Iterator[LiveHeads]:
    """Heads of which one is published and none is loaded."""
    engine, artifacts = database.connect(f"sqlite:///{tmp_path / 'espalier.sqlite'}"), Artifacts(str(tmp_path))
    database.migrate(engine)
    request = JobRequest(REF.name)
    job = jobs.create(engine, request, [], fingerprint="")
    manifest = {"backbone": {"digest": "b"}, "classes": ["a", "b"], "task": "classification"}
    publishing.publish(engine, Publication(job.id, request, artifacts.put(graph()), manifest, {}, {}, [], False, None))
    made = LiveHeads(engine, artifacts, max_bytes=2**30)
    yield made
    made.stop()
    engine.dispose()


@pytest.fixture
def barrier(monkeypatch: pytest.MonkeyPatch) -> LoadBarrier:
    """Before the artifacts; who has looked up what the head is has asked."""
    made = LoadBarrier(CROWD)
    resolve, get = heads.resolve, Artifacts.get

    def resolved(*arguments: Any) -> HeadVersion:
        found = resolve(*arguments)
        made.ask()
        return found

    def got(store: Artifacts, digest: str) -> bytes:
        made.enter()
        return get(store, digest)

    monkeypatch.setattr(heads, "resolve", resolved)
    monkeypatch.setattr(Artifacts, "get", got)
    return made


def crowd(ask: Callable[[], Any]) -> list[Any]:
    """What everybody gets, or what was wrong."""

    def one(_: int) -> Any:
        try:
            return ask()
        except CorruptArtifact as error:
            return error

    with ThreadPoolExecutor(CROWD) as pool:
        return list(pool.map(one, range(CROWD)))


def test_a_cold_head_that_a_crowd_asks_for_is_loaded_once(live, barrier):
    """All of them have found it missing, and all get the one that is loaded."""
    found = crowd(lambda: live.get(REF))
    assert barrier.entered == live.loads == 1 and barrier.asked == CROWD
    assert len({id(f.head) for f in found}) == 1 and live.loaded()[0] == 1


def test_on_the_event_loop_a_crowd_waits_for_one_load(live, barrier):
    """Who is there before it is done is told with the others, at the cost of one look at the database."""
    barrier.crowd = 1

    async def main() -> list[Any]:
        return await asyncio.wait_for(asyncio.gather(*(live.fetch(REF) for _ in range(CROWD))), 20)

    found = asyncio.run(main())
    assert barrier.entered == live.loads == 1 and len({id(f) for f in found}) == 1
    assert barrier.asked == 1, "only one of them looked up what the head is"


def test_on_the_event_loop_heads_do_not_wait_for_one_another(live, barrier, monkeypatch):
    """One that takes long to load holds up none that is there."""
    barrier.crowd = 1
    slow, opened = live.get, threading.Event()

    def get(ref: HeadRef) -> Any:
        if ref.version is None:
            assert opened.wait(10)
        return slow(ref)

    monkeypatch.setattr(live, "get", get)

    async def main() -> None:
        waiting = [asyncio.create_task(live.fetch(REF)) for _ in range(CROWD)]
        await asyncio.sleep(0)
        try:
            assert (await asyncio.wait_for(live.fetch(HeadRef("cats", version=1)), 5)).version.number == 1
        finally:
            opened.set()
        assert len({id(f.head) for f in await asyncio.gather(*waiting)}) == 1

    asyncio.run(main())
    assert live.loads == 1


def test_a_load_that_fails_fails_for_the_crowd_and_not_for_ever(live, barrier, monkeypatch):
    """Everybody is told, and who comes later finds what has been mended."""
    sound, broken = Artifacts.get, threading.Event()

    def get(store: Artifacts, digest: str) -> bytes:
        data = sound(store, digest)
        if not broken.is_set():
            raise CorruptArtifact("altered")
        return data

    monkeypatch.setattr(Artifacts, "get", get)
    found = crowd(lambda: live.get(REF))
    assert all(isinstance(f, CorruptArtifact) for f in found) and live.loads == 0
    broken.set()
    assert live.get(REF).version.number == 1


def test_a_structure_that_a_crowd_asks_for_is_made_once(monkeypatch):
    """Heads that differ in numbers alone and are loaded at a time share one session."""
    barrier, create = LoadBarrier(), session.create

    def created(*arguments: Any, **options: Any) -> Any:
        barrier.enter()
        return create(*arguments, **options)

    monkeypatch.setattr(session, "create", created)
    structures, numbers = Structures(), iter(range(CROWD))
    parts = [take_apart(graph(float(n))) for n in range(CROWD)]
    found = crowd(lambda: structures.get(parts[next(numbers)].structure))
    assert barrier.entered == 1 and len({id(structure) for structure, _ in found}) == 1
    assert sum(made for _, made in found) == 1


def test_a_backbone_that_a_crowd_asks_for_is_loaded_once():
    """Its graph is read once, and all get one session."""
    barrier = LoadBarrier()

    def load(digest: str) -> tuple[Any, bytes]:
        barrier.enter()
        return TINY, tiny()

    backbones = Backbones(load)
    found = crowd(lambda: backbones.get(TINY.digest))
    assert barrier.entered == 1 and len(set(map(id, found))) == 1 and backbones.loaded() == [TINY.digest]
