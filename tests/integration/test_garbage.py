"""`espalier gc` says beforehand what it removes, to the byte, and its sweep is the worker's."""

import json
from datetime import timedelta

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.stores import NAMES, Store, opened, sha

from adapters.drift.windows import Window
from adapters.store import database, heads, jobs
from adapters.store.audit import log, recording
from adapters.store.audit.recording import Entry
from adapters.store.audit.tables import audit
from adapters.store.drift import windows
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.objects import blobs
from adapters.store.schema import answer_windows, blob_holds, embeddings
from adapters.store.schema import jobs as jobs_table
from adapters.store.scrub import garbage
from adapters.store.upkeep import retention
from adapters.store.upkeep.retention import Keep
from service.cli import main

STEP = st.sampled_from(["teach", "fail", "wait", "embed", "delete", "age", "hold", "orphan", "backup"])


def _do(store: Store, step: str, names: str, number: int) -> None:
    head = "acme/cats" if number % 2 else "dogs"
    match step:
        case "teach":
            store.teach(names, head)
        case "fail":
            jobs.abandon(store.engine, store.upload(names, head), "failed", {"code": "x", "message": "", "item": None})
        case "wait":
            store.upload(names, "birds")
        case "embed":
            rows = [Embedded(sha(n), np.zeros(number + 1, np.float32), np.zeros(256, np.uint8)) for n in names]
            EmbeddingCache(store.engine, "acme/" * (number % 2) + "b" * 64).put(rows)
        case "delete" if any(found.name == head for found in heads.page(store.engine, limit=9)):
            heads.delete(store.engine, head)
        case "age":
            with store.engine.begin() as connection:
                old = database.now() - timedelta(days=40)
                connection.execute(
                    jobs_table.update().where(jobs_table.c.finished_at.is_not(None)).values(finished_at=old)
                )
        case "hold":
            store.hold(f"holder-{number}", names)
            with store.engine.begin() as connection:
                old = database.now() - timedelta(days=number % 3)
                connection.execute(
                    blob_holds.update().where(blob_holds.c.holder == f"holder-{number}").values(since=old)
                )
        case "backup":  # one that is being made, or was killed long ago
            blobs.hold(store.engine, f"backup-{number}", [blobs.EVERYTHING])
            with store.engine.begin() as connection:
                old = database.now() - timedelta(hours=number % 2)
                mine = blob_holds.c.holder == f"backup-{number}"
                connection.execute(blob_holds.update().where(mine).values(since=old))
        case "orphan":
            store.put(names)


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.tuples(STEP, st.text(NAMES, min_size=1, max_size=3)), max_size=8), keep=st.integers(0, 3))
def test_what_a_dry_run_tells_is_what_a_sweep_removes(tmp_path_factory, steps, keep) -> None:
    store = opened(tmp_path_factory.mktemp("store"))
    for number, (step, names) in enumerate(steps):
        _do(store, step, "".join(dict.fromkeys(names)), number)
    told = garbage.look(store.engine, store.artifacts, Keep(30, keep))
    before = (store.count(jobs_table), store.count(embeddings), len(store.there()), _bytes(store))
    retention.sweep(store.engine, store.artifacts, Keep(30, keep))
    after = (store.count(jobs_table), store.count(embeddings), len(store.there()), _bytes(store))
    gone = tuple(was - now for was, now in zip(before, after, strict=True))
    assert gone == (told.jobs, told.embeddings, told.blobs, told.blob_bytes)
    assert not (told.held_blobs and told.blobs)
    assert not any(vars_of(garbage.look(store.engine, store.artifacts, Keep(30, keep))))
    store.engine.dispose()


def _bytes(store: Store) -> int:
    return sum(blob.size for blob in store.artifacts.list())


def vars_of(found: garbage.Garbage) -> list[int]:
    return [found.jobs, found.embeddings, found.embedding_bytes, found.blobs, found.blob_bytes]


@pytest.fixture
def store(tmp_path) -> Store:
    made = opened(tmp_path)
    yield made
    made.engine.dispose()


def gc(*options: str) -> dict:
    done = CliRunner().invoke(main, ["gc", "--json", *options])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_a_dry_run_removes_nothing_and_a_run_what_it_told(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    monkeypatch.setenv("ESPALIER_KEEP_JOBS", "0")
    store.teach("ab", "cats")
    job_id = store.upload("xyz", "dogs")
    jobs.abandon(store.engine, job_id, "failed", {"code": "x", "message": "", "item": None})
    before = store.there()
    told = gc("--dry-run")
    assert told["found"] == told["left"] and told["found"]["blobs"] == 3 and store.there() == before
    with blobs.holding_everything(store.engine, store.artifacts):  # beside a backup rows go, blobs stay till its end
        asked, done = gc("--dry-run")["found"], gc()
        assert (asked["blobs"], asked["held_blobs"]) == (0, 3) and done["found"] == asked
        assert (done["left"]["blobs"], done["left"]["held_blobs"]) == (0, 3) and store.there() == before
    done = gc()
    assert done["found"] == done["left"] == dict.fromkeys(done["left"], 0)
    assert before - store.there() == {sha(name) for name in "xyz"}
    assert "0 jobs, 0 samples, 0 embeddings" in CliRunner().invoke(main, ["gc"]).output


def test_old_rows_of_the_audit_log_and_counts_of_answers_are_told_and_removed(store, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path))
    _log_of_old(store, days=400, rows=5)
    store.teach("ab", "cats")
    windows.add(store.engine, {("cats", 1, windows.present_hour() - 1000): Window()})
    told = gc("--dry-run")["found"]
    assert (told["audit_rows"], told["answer_windows"]) == (5, 1)
    before = store.count(audit)
    assert gc()["found"] == told
    assert store.count(audit) == before - 5 + 1 and store.count(answer_windows) == 0  # a row says that five are gone
    assert gc("--dry-run")["found"]["audit_rows"] == 0 and log.verify(store.engine).problem is None


@pytest.mark.parametrize("days", [0, 29.9, 30.5, 31.1, 100])
def test_of_the_audit_log_as_much_is_told_as_is_pruned(store, monkeypatch, days) -> None:
    monkeypatch.setattr(log, "BATCH", 3)
    _log_of_old(store, days=days + 1, rows=4)
    _log_of_old(store, days=days, rows=4)
    for kept in (30, 0):
        assert log.due(store.engine, kept) == log.prune(store.engine, kept)


def _log_of_old(store: Store, days: float, rows: int) -> None:
    with store.engine.begin() as connection:
        entries = [Entry("old", {"number": n}) for n in range(rows)]
        recording._append(connection, entries, database.clock() - days * 86_400.0)
