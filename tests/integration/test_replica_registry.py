"""Replicas that live are known, those that vanish are forgotten, and notices come at once or are done without."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from support import own_postgres
from support.fault_proxy import FaultProxy
from support.services import eventually

from adapters.store import heads
from adapters.store.replicas import notices, registry
from adapters.store.schema import replicas
from service.replicas import everywhere
from service.replicas.heartbeat import Heartbeat

SOON = 20.0  # seconds, on a busy machine; notices come in milliseconds


class Live:
    """What a heartbeat tells of."""

    def __init__(self) -> None:
        self.changed = threading.Event()
        self.now: tuple[int, frozenset[str]] = (0, frozenset())

    def state(self) -> tuple[int, frozenset[str]]:
        return self.now

    def reaches(self, generation: int, *behind: str) -> None:
        self.now = (generation, frozenset(behind))
        self.changed.set()


def aged(engine: Engine, replica: str, seconds: float) -> None:
    """As if it had not been heard of for so long, or would be in the future."""
    with engine.begin() as connection:
        moved = replicas.update().where(replicas.c.id == replica).values(seen_at=replicas.c.seen_at - seconds)
        connection.execute(moved)


def names(engine: Engine) -> list[str]:
    return [one.id for one in registry.living(engine)]


def test_who_is_silent_for_long_is_forgotten(engine):
    for name in ("a", "b", "c"):
        registry.tell(engine, name, "1", 3, [])
    aged(engine, "a", registry.GONE + 1)
    aged(engine, "b", -registry.GONE - 60)  # the clock was set back
    assert names(engine) == ["c"] and registry.serving(engine, "cats", 3) == registry.Serving(1, 1)
    registry.tell(engine, "c", "1", 3, [])
    with engine.connect() as connection:
        assert connection.execute(sa.select(replicas.c.id)).scalars().all() == ["c"], "and its row is gone"
    registry.tell(engine, "a", "1", 3, [])
    assert sorted(names(engine)) == ["a", "c"], "who was only slow is known again"
    registry.leave(engine, "a")
    assert names(engine) == ["c"]


def test_who_could_not_load_a_version_does_not_serve_it(engine):
    registry.tell(engine, "a", "1", 5, ["cats"])
    registry.tell(engine, "b", "1", 4, [])
    registry.tell(engine, "c", "1", 6, [f"head-{n}" for n in range(registry.MOST_BEHIND + 1)])
    assert registry.serving(engine, "cats", 4) == registry.Serving(3, 1)
    assert registry.serving(engine, "dogs", 5) == registry.Serving(3, 1)
    assert registry.serving(engine, "dogs", 4) == registry.Serving(3, 2)
    assert not registry.serving(engine, "dogs", 4).all


def test_the_count_says_how_many_are_late(engine):
    assert registry.count(engine) == (0, 0)
    registry.tell(engine, "a", "1", 0, [])
    assert registry.count(engine) == (1, 0)
    with engine.begin() as connection:
        heads.bump(connection, "cats")
    registry.tell(engine, "b", "1", 1, [])
    assert registry.count(engine) == (2, 1)


def test_a_heartbeat_tells_at_once_what_has_changed_and_leaves(engine):
    live = Live()
    beating = Heartbeat(engine, live)
    beating.start()
    assert names(engine) == [beating.id]
    live.reaches(7, "cats")
    eventually(lambda: registry.serving(engine, "dogs", 7).all, SOON)
    assert not registry.serving(engine, "cats", 7).all
    live.reaches(7)
    eventually(lambda: registry.serving(engine, "cats", 7).all, SOON)
    beating.stop()
    assert names(engine) == []


@pytest.mark.slow
def test_a_notice_ends_a_wait_once_the_change_is_committed(engine):
    """And not before: another would look, find nothing, and sleep."""
    told, woken, stop = notices.of(engine), threading.Event(), threading.Event()
    told.wait(0.2, stop)  # the first tells that it begins to listen

    def wait() -> None:
        told.wait(4 * SOON, stop)
        woken.set()

    waiting = threading.Thread(target=wait)
    with engine.begin() as connection:
        heads.bump(connection, "cats")
        waiting.start()
        assert not woken.wait(0.5)
    assert woken.wait(SOON)
    waiting.join()
    told.close()


def test_an_order_to_stop_ends_a_wait(engine):
    told, stop = notices.of(engine), threading.Event()
    told.wait(0.2, stop)
    waiting = threading.Thread(target=told.wait, args=(600, stop))
    waiting.start()
    stop.set()
    waiting.join(SOON)
    assert not waiting.is_alive()
    told.close()


@pytest.mark.postgres
def test_a_connection_that_listens_and_is_cut_is_done_without_and_made_again(postgres, monkeypatch):
    """Meanwhile a wait takes its time, and no longer."""
    engine = sa.create_engine(postgres)
    monkeypatch.setattr(notices, "RETRY", 0.0)
    told, stop = notices.of(engine), threading.Event()
    told.wait(0.2, stop)
    with engine.begin() as connection:
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE query = 'LISTEN espalier_generation'"
        assert connection.execute(sa.text(cut)).scalar() == 1
    began = time.monotonic()
    told.wait(0.3, stop)
    assert time.monotonic() - began < SOON
    told.wait(0.3, stop)
    woken = threading.Thread(target=told.wait, args=(4 * SOON, stop))
    woken.start()
    eventually(lambda: _notified(engine) or not woken.is_alive(), SOON)
    eventually(lambda: not woken.is_alive(), SOON)
    told.close()
    engine.dispose()


@pytest.mark.slow
@pytest.mark.postgres
def test_a_server_that_takes_connections_and_says_nothing_holds_up_no_wait():
    """As a pooler does whose server is gone: who follows the database looks by itself all the while."""
    with own_postgres.running() as server, FaultProxy(server.port) as proxy:
        engine = sa.create_engine(server.url(proxy.port))
        told, stop = notices.of(engine), threading.Event()
        for fault in ("swallow", "ok", "swallow", "ok"):
            proxy.set(fault)
            waiting = threading.Thread(target=lambda: [told.wait(0.2, stop) for _ in range(5)])
            waiting.start()
            waiting.join(SOON)
            assert not waiting.is_alive(), fault
        told.close()
        engine.dispose()


def _notified(engine: Engine) -> None:
    with engine.begin() as connection:
        notices.send(connection, 1)


def test_who_waits_for_all_is_answered_when_all_serve_or_the_time_is_up(engine):
    registry.tell(engine, "a", "1", 2, [])
    registry.tell(engine, "b", "1", 1, [])
    following = SimpleNamespace(leaving=False)

    async def main() -> tuple[object, object]:
        late = await everywhere.served(engine, following, "cats", 2, seconds=0.2)
        waiting = asyncio.create_task(everywhere.served(engine, following, "cats", 2))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(registry.tell, engine, "b", "1", 2, [])
        return late, await waiting

    assert asyncio.run(main()) == (registry.Serving(2, 1), registry.Serving(2, 2))
