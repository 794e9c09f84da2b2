"""How long anybody waits for the database, without one."""

import sqlite3
import time

import pytest
from sqlalchemy.exc import OperationalError, TimeoutError

from adapters.store import database, patience
from adapters.store.patience import Silence


def test_time_that_was_spent_in_a_queue_counts():
    with patience.within(0.0), pytest.raises(TimeoutError):
        patience.left(1.0)
    with patience.within(5.0):
        assert 0 < patience.left(10.0) <= 5.0 and patience.left(1.0) == 1.0
        patience.answered()
        assert patience.left(10.0) == 10.0
    assert patience.left(30.0) == 30.0


def test_a_database_that_did_not_answer_is_asked_by_one_after_a_moment(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    silence = Silence()
    silence.check()
    silence.fell()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            silence.check()
    now[0] += patience.SILENCE
    silence.check()  # this one asks
    with pytest.raises(TimeoutError):
        silence.check()  # and the others wait for what it learns
    silence.broken()
    silence.check()


def test_readers_do_not_wait_for_a_writer_and_a_writer_gives_up(tmp_path):
    path = tmp_path / "espalier.sqlite"
    engine = database.connect(f"sqlite:///{path}", 0.2)
    database.migrate(engine)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with database.reading(engine) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM heads").scalar() == 0
    with pytest.raises(OperationalError), engine.begin():
        raise AssertionError("two write at once")
    other.execute("ROLLBACK")
    with engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 200
    other.close()
    engine.dispose()
