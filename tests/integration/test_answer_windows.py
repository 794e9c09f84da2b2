"""Counts of answers in the database: added up by many, gone with their version, forgotten in time."""

import concurrent.futures

import pytest
from sqlalchemy.engine import Engine

from adapters.drift.windows import Window
from adapters.store import heads, jobs, publishing
from adapters.store.drift import windows
from adapters.store.publishing import Publication
from adapters.types import JobRequest


def publish(engine: Engine, head: str) -> int:
    request = JobRequest(head, deploy="manual")
    job = jobs.create(engine, request, [], fingerprint="")
    manifest = {"task": "classification", "backbone": {"digest": "b"}}
    return publishing.publish(engine, Publication(job.id, request, "d" * 64, manifest, {}, {}, [], False, None))


@pytest.fixture
def taught(engine: Engine) -> Engine:
    publish(engine, "cats")
    return engine


def counted(head: str = "cats", hour: int | None = None, version: int = 1) -> dict:
    hour = windows.present_hour() if hour is None else hour
    return {(head, version, hour): Window(2, {0: 1, 7: 1}, {19: 2})}


def test_processes_add_up(taught):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: windows.add(taught, counted()), range(20)))
    (window,) = windows.of_version(taught, "cats", 1, 2).values()
    assert window == Window(40, {0: 20, 7: 20}, {19: 40})


def test_of_versions_that_are_gone_nothing_is_kept(taught):
    more = counted() | counted("nobody") | counted(version=9)
    windows.add(taught, more)
    assert more == {}, "all of it is dealt with"
    assert len(windows.of_version(taught, "cats", 1, 1)) == 1
    assert windows.of_version(taught, "nobody", 1, 1) == windows.of_version(taught, "cats", 9, 1) == {}
    heads.delete(taught, "cats")
    assert windows.of_version(taught, "cats", 1, 1) == {}


def test_old_hours_are_not_looked_at_and_then_forgotten(taught):
    present = windows.present_hour()
    for ago in (0, 5, 30, 24 * 20):
        windows.add(taught, counted(hour=present - ago))
    assert len(windows.of_version(taught, "cats", 1, 6)) == 2 and len(windows.of_version(taught, "cats", 1, 5)) == 1
    windows.forget(taught, 14)
    windows.forget(taught, 14)
    assert len(windows.of_version(taught, "cats", 1, 10**5)) == 3
