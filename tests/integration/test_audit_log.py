"""The audit log: in the transaction of the change, append-only, chained, pruned by stubs."""

import concurrent.futures
import json

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from adapters.store import database
from adapters.store.audit import log
from adapters.store.audit.actor import Actor, acting
from adapters.store.audit.recording import Entry, record, write
from adapters.store.audit.tables import audit, chain_end
from adapters.store.schema import counters


def change(engine, action="head.delete", **what):
    with engine.begin() as connection:
        record(connection, action, **what)


def rows(engine):
    return log.page(engine, limit=1000)


def unguarded(engine, statement):
    """What somebody does who has taken the triggers away."""
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            names = connection.execute(sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")).scalars()
            for name in list(names):
                connection.exec_driver_sql(f"DROP TRIGGER {name}")
        else:
            for table in ("audit", "audit_stubs"):
                connection.exec_driver_sql(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        connection.execute(statement)


def test_a_row_says_who_what_when_and_from_where(engine):
    with acting(Actor("acme", "key_1", "10.0.0.7", "req-1")) as actor:
        change(engine, "alias.set", head="acme/cats", alias="live", version=2, job=None)
    (row,) = rows(engine)
    assert (row["tenant"], row["principal"], row["address"], row["request_id"]) == (
        "acme",
        "key_1",
        "10.0.0.7",
        "req-1",
    )
    assert (row["action"], row["outcome"]) == ("alias.set", "done")
    assert row["what"] == {"head": "cats", "alias": "live", "version": 2}
    with engine.connect() as connection:
        moment = connection.execute(sa.select(database.clock())).scalar_one()
    assert 0 <= moment * 1000 - row["at"] < 3_600_000
    assert actor.recorded == 1


def test_a_change_that_is_rolled_back_leaves_no_row(engine):
    with pytest.raises(ZeroDivisionError), engine.begin() as connection:
        record(connection, "head.delete", head="cats")
        raise ZeroDivisionError
    change(engine, "head.rename")
    assert [row["action"] for row in rows(engine)] == ["head.rename"]


def test_a_change_whose_row_cannot_be_written_is_not_made(engine):
    unguarded(engine, sa.text("ALTER TABLE audit_chain_end RENAME TO away"))
    with pytest.raises(DBAPIError), engine.begin() as connection:
        connection.execute(counters.insert().values(name="changed", value=1))
        record(connection, "something")
    unguarded(engine, sa.text("ALTER TABLE away RENAME TO audit_chain_end"))
    with engine.connect() as connection:
        assert connection.execute(sa.select(counters).where(counters.c.name == "changed")).first() is None


def test_names_of_strangers_are_cut_and_kept_as_any_database_can(engine):
    with acting(Actor("t" * 100, "p\0\ud800" * 500, "a" * 100, "r" * 100)):
        change(engine, "x" * 100, head="h\0\ud800" * 1000)
    (row,) = rows(engine)
    assert len(row["what"]["head"]) == 200 and len(row["principal"]) == 255
    assert log.verify(engine).problem is None


def test_rows_of_many_writers_form_one_chain(engine):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: change(engine, "n", number=n), range(60)))
    found = log.verify(engine)
    assert (found.rows, found.sequence, found.problem) == (60, 60, None)
    assert {row["what"]["number"] for row in rows(engine)} == set(range(60))


@pytest.mark.slow
@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET principal = 'somebody else'",
        "DELETE FROM audit WHERE sequence = 6",  # 1 to 5 are pruned
        "DELETE FROM audit",
        "UPDATE audit_stubs SET through = 100",
        "DELETE FROM audit_stubs",
    ],
)
def test_the_database_refuses_updates_and_deletions(engine, statement):
    _pruned(engine)
    change(engine)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql(statement)
    assert log.verify(engine).problem is None


def test_sqlite_refuses_to_replace_a_row(engine):
    if engine.dialect.name != "sqlite":
        pytest.skip("no other has REPLACE")
    change(engine)
    columns = ", ".join(f"'{c.name}'" if c.name != "sequence" else "1" for c in audit.columns)
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql(f"REPLACE INTO audit VALUES ({columns})")


def test_postgres_refuses_to_truncate(engine):
    if engine.dialect.name == "sqlite":
        pytest.skip("it has no TRUNCATE")
    with pytest.raises(DBAPIError, match="append-only"), engine.begin() as connection:
        connection.exec_driver_sql("TRUNCATE audit")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("statement", "said"),
    [
        (audit.delete().where(audit.c.sequence == 3), "rows 3 to 3 are gone"),
        (audit.delete().where(audit.c.sequence == 1), "rows 1 to 1 are gone"),
        (audit.delete().where(audit.c.sequence == 5), "the last rows are gone"),
        (audit.update().where(audit.c.sequence == 3).values(principal="x"), "row 3 was changed"),
        (audit.update().where(audit.c.sequence == 3).values(hash="x" * 64), "row 3 was changed"),
        (audit.update().where(audit.c.sequence == 4).values(previous="x" * 64), "row 4 does not follow row 3"),
    ],
)
def test_whoever_takes_the_triggers_away_is_found_out(engine, statement, said):
    for number in range(5):
        change(engine, "n", number=number)
    unguarded(engine, statement)
    assert said in (log.verify(engine).problem or "")


@pytest.mark.parametrize(("at", "said"), [(3, "row 3 is behind the end"), (7, "row 7 is behind the end")])
def test_rows_that_somebody_has_added_are_found_out(engine, at, said):
    """No trigger can tell them from ours: they are nobody's change, and the chain does not lead to them."""
    change(engine, "one"), change(engine, "two")
    last = rows(engine)[-1]
    with engine.begin() as connection:
        connection.execute(audit.insert().values(last | {"sequence": at, "what": "{}", "previous": last["hash"]}))
    assert said in (log.verify(engine).problem or "")


def test_an_end_that_was_moved_back_is_found_out(engine):
    change(engine, "one"), change(engine, "two")
    with engine.begin() as connection:
        connection.execute(chain_end.update().values(sequence=0, hash=""))
    assert "row 1 is behind the end" in (log.verify(engine).problem or "")


def test_what_is_appended_meanwhile_is_no_problem(engine):
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        writing = pool.submit(lambda: [change(engine, "n", number=n) for n in range(80)])
        looks = [log.verify(engine)]
        while not writing.done():
            looks.append(log.verify(engine))
    assert {look.problem for look in looks} == {None}


def test_a_log_that_was_written_anew_does_not_have_the_hash_that_somebody_noted(engine):
    change(engine, "one")
    noted = log.verify(engine)
    unguarded(engine, audit.delete())
    unguarded(engine, chain_end.update().values(sequence=0, hash=""))
    change(engine, "another")
    assert log.verify(engine).problem is None
    assert "written anew" in (log.verify(engine, (noted.sequence, noted.hash)).problem or "")


def _aged(engine, days):
    """Rows that were written so many days ago, as the log has them."""
    from adapters.store.audit import recording

    with engine.begin() as connection:
        entries = [Entry("old", {"number": n}) for n in range(5)]
        recording._append(connection, entries, database.clock() - days * 86_400.0)


def _pruned(engine):
    _aged(engine, 100)
    assert log.prune(engine, 30) == 5


def test_old_rows_are_pruned_behind_a_stub_and_the_rest_is_still_whole(engine):
    _aged(engine, 100)
    change(engine, "young")
    assert log.prune(engine, 30) == 5
    assert [row["action"] for row in rows(engine)] == ["young", "audit.prune"]
    assert rows(engine)[1]["what"]["count"] == 5
    found = log.verify(engine)
    assert (found.rows, found.sequence, found.problem) == (2, 7, None)
    assert log.prune(engine, 30) == 0


def test_a_log_of_old_rows_alone_is_pruned_too(engine):
    _pruned(engine)
    assert log.verify(engine).problem is None


def test_nothing_is_pruned_before_its_time_or_where_all_is_kept(engine):
    _aged(engine, 30.5)
    assert log.prune(engine, 30) == 0, "a day's grace, so that there is one stub a day"
    _aged(engine, 100)
    assert log.prune(engine, 0) == 0


def test_a_stub_that_no_row_tells_of_is_found_out(engine):
    for number in range(3):
        change(engine, "n", number=number)
    row = log.page(engine, limit=3)[1]
    stub = f"INSERT INTO audit_stubs VALUES (2, '{row['hash']}', 2, 0)"
    unguarded(engine, sa.text(stub))
    unguarded(engine, audit.delete().where(audit.c.sequence <= 2))
    assert "no row of the log tells" in (log.verify(engine).problem or "")


def test_pages_follow_each_other_and_a_tenant_sees_its_own(engine):
    for tenant in ("a", "b", "a"):
        write(engine, [Entry("x", actor=Actor(tenant))])
    assert [row["sequence"] for row in log.page(engine, limit=2)] == [1, 2]
    assert [row["sequence"] for row in log.page(engine, limit=2, after=2)] == [3]
    assert [row["sequence"] for row in log.page(engine, limit=9, tenant="a")] == [1, 3]
    at = log.page(engine, limit=1)[0]["at"]
    assert len(log.page(engine, limit=9, since=at)) == 3
    assert log.page(engine, limit=9, since=at + 3_600_000) == []


def test_a_line_of_the_export_is_enough_to_compute_its_hash(engine):
    """Whoever keeps exports can check them without us: docs/guides/limits.md says how."""
    import hashlib

    change(engine, "head.delete", head="cats")
    row = json.loads(json.dumps(next(log.every(engine))))
    names = ("sequence", "at", "tenant", "principal", "address", "request_id", "action", "what", "outcome", "status")
    facts = [json.dumps(row[n], sort_keys=True) if n == "what" else row[n] for n in names]
    text = f"{row['previous']}\n{json.dumps(facts, separators=(',', ':'))}"
    assert hashlib.sha256(text.encode()).hexdigest() == row["hash"]
