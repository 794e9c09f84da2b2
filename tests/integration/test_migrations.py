"""Migrations up and down with data in every table, and what the next release may do to the tables of this one."""

import ast
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from support import migration_rules
from support.databases import empty

from adapters.errors import InvalidInput, NotReady
from adapters.store import database

VERSIONS = Path(database.__file__).parent / "migrations" / "versions"
REVISIONS = database.known_revisions()
AT = "2026-01-02 03:04:05"
A, B = "a" * 64, "b" * 64
# Rows of an installation that has lived: a head with two versions, one that was deleted, jobs in every state.
ROWS: dict[str, list[dict[str, Any]]] = {
    "backbones": [{"name": "lite", "digest": A, "facts": {"artifact": A, "dimension": 4}, "created_at": AT}],
    "capabilities": [{"kind": "method", "name": "ridge", "schema": {"x-tasks": ["regression"]}}],
    "changes": [{"generation": n, "head": "cats", "created_at": AT} for n in (1, 2)],
    "embeddings": [{"sha256": A, "backbone": A, "view": "centre", "vector": b"\0\1\2\3", "fingerprint": b"\7"}],
    "heads": [{"name": "cats", "task": "classification", "created_at": AT, "next_version": 3}],
    "jobs": [
        {
            "id": f"job_{n}", "head": head, "request": {"head": head, "mode": "add"}, "status": status,
            "progress": {"phase": status}, "version": version, "metrics": {"accuracy": 0.5}, "report": {"n": n},
            "error": {"code": "x"} if n == 3 else None, "cancel_requested": False,
            "idempotency_key": f"key-{n}", "fingerprint": A,
            "created_at": f"2026-01-02 03:04:0{n}", "updated_at": AT, "started_at": AT, "finished_at": AT,
            "worker": "w", "lease_token": f"t{n}", "lease_until": 5.5, "trouble": {"code": "y"}, "due_at": 6.5,
            "principal": "key:k", "request_id": A, "traceparent": "00-1-2-01", "stage": n % 2, "checkpoint": B,
            "sequence": n, "attempts": 1, "deaths": 0, "failures": 0, "settled": status == "succeeded",
        }
        for n, (head, status, version) in enumerate(
            [("cats", "succeeded", 1), ("cats", "succeeded", 2), ("gone", "succeeded", 4), ("cats", "training", None),
             ("dogs", "queued", None)], 1,
        )
    ],
    "examples": [{"head": "cats", "sha256": A, "label": "Kätzchen", "file_name": "a.png", "wished_split": "test",
                  "group": "g", "assigned_split": "test", "job_id": "job_1"}],
    "job_blobs": [{"job_id": "job_4", "digest": B}],
    "job_events": [{"job_id": "job_1", "sequence": n, "type": "status", "data": {"n": n}, "created_at": AT}
                   for n in (1, 2)],
    "job_examples": [{"job_id": "job_4", "position": 0, "sha256": A, "label": "x", "file_name": "a.png",
                      "wished_split": "val", "group": "g"}],
    "versions": [{"head": "cats", "number": n, "digest": A, "status": "published", "created_at": AT,
                  "manifest": {"data": {"digest": B}, "classes": ["x", "y"]}, "job_id": f"job_{n}"} for n in (1, 2)],
    "aliases": [{"head": "cats", "alias": "live", "number": 2, "updated_at": AT}],
    "deleted_heads": [{"name_sha256": A, "next_version": 5}],
    "version_blobs": [{"head": "cats", "number": 2, "digest": A}],
    "blob_holds": [{"holder": "h", "digest": B, "since": AT}],
    "tombstones": [{"digest": B, "since": AT}],
    "job_shards": [{"job_id": "job_4", "position": 0, "images": [[A, "a.png"]], "views": ["mirror"], "done": 0,
                    "ended": False, "problems": [{"item": "a"}], "token": "t", "lease_until": 5.5}],
    "api_keys": [{"id": "k", "tenant": "acme", "name": "n", "digest": A, "scopes": ["read"], "created_at": AT,
                  "expires_at": AT, "revoked_at": AT, "last_used_at": AT, "replaces": "j", "changed": 1}],
    "audit": [{"sequence": 1, "at": 5, "tenant": "", "principal": "p", "address": "", "request_id": "", "action": "x",
               "what": "{}", "outcome": "done", "status": 200, "previous": "", "hash": A}],
    "audit_stubs": [{"through": 0, "hash": "", "count": 0, "at": 1}],
    "quotas": [{"tenant": "acme", "key": "", "name": "heads", "value": 5.0}],
    "blob_sizes": [{"digest": A, "bytes": 7}],
    "rate_shares": [{"tenant": "acme", "key": "", "name": "requests_per_second", "process": "p", "demand": 1.0,
                     "share": 1.0, "until": 2.0}],
    "sampling": [{"head": "cats", "keep": 9, "days": 3.0, "since": 5.0}],
    "samples": [{"head": "cats", "sha256": B, "version": 1, "backbone": A, "vector": b"\0\1", "answer": {"label": "x"},
                 "why": ["novel"], "hardness": 0.5, "bytes": 7, "asked_at": 5.5}],
    "rollouts": [{
        "head": "cats", "id": "r1", "version": 2, "base": 1, "mode": "canary", "weight": 0.5, "rules": {"n": 1},
        "status": "ended", "reason": "better", "live_asked": 1, "live_errors": 2, "live_novel": 3, "candidate_asked": 4,
        "candidate_errors": 5, "candidate_novel": 6, "compared": 7, "disagreed": 8, "dropped": 9, "created_at": AT,
        "ended_at": AT,
    }],
    "rollout_events": [{"head": "cats", "sequence": 1, "type": "started", "data": {"n": 1}, "created_at": AT}],
    "answer_windows": [{"head": "cats", "version": 2, "hour": 7, "counts": {"x": 3}}],
    "replicas": [{"id": "r", "release": "0", "generation": 2, "behind": [], "started_at": 1.0, "seen_at": 2.0}],
}  # fmt: skip
Rows = dict[str, list[dict[str, Any]]]


@pytest.fixture
def bare(engine: Engine) -> Engine:
    """A database of each kind without tables."""
    empty(engine)
    return engine


def migrate_to(engine: Engine, revision: str) -> None:
    """Up to a revision, as the release that had it made it."""
    with database._migrating(engine) as (_, config):
        database._alembic().upgrade(config, revision)


def tables(engine: Engine) -> list[sa.Table]:
    """What is there now, with parents before their children."""
    found = sa.MetaData()
    found.reflect(engine)
    return [table for table in found.sorted_tables if table.name != "alembic_version"]


def fill(engine: Engine) -> None:
    """The rows, as far as there are tables and columns for them; what is there of the migrations stays."""
    for table in tables(engine):
        rows = [{k: v for k, v in row.items() if k in table.c} for row in ROWS.get(table.name, [])]
        if rows:
            with engine.begin() as connection:
                connection.execute(sa.insert(table), [_moments(table, row) for row in rows])


def _moments(table: sa.Table, row: dict[str, Any]) -> dict[str, Any]:
    """Text → datetime where a column wants one, JSON and the rest as they are."""
    from datetime import UTC, datetime

    def value(name: str, given: Any) -> Any:
        is_moment = isinstance(table.c[name].type, sa.DateTime) and given is not None
        return datetime.fromisoformat(given).replace(tzinfo=UTC) if is_moment else given

    return {name: value(name, given) for name, given in row.items()}


def read(engine: Engine, only: dict[str, list[str]] | None = None) -> Rows:
    """All rows of all tables, or of some columns of some."""
    found: Rows = {}
    with engine.connect() as connection:
        for table in tables(engine):
            if only is None or table.name in only:
                columns = [table.c[name] for name in only[table.name]] if only else list(table.c)
                rows = [dict(row) for row in connection.execute(sa.select(*columns)).mappings()]
                found[table.name] = sorted(rows, key=repr)
    return found


def columns(engine: Engine) -> dict[str, list[str]]:
    return {table.name: [column.name for column in table.c] for table in tables(engine)}


def shape(engine: Engine) -> dict[str, Any]:
    """Columns with what they may hold, keys and indices."""
    look = sa.inspect(engine)
    return {
        name: (
            {c["name"]: (str(c["type"]), c["nullable"]) for c in look.get_columns(name)},
            sorted((i["name"], tuple(i["column_names"]), bool(i["unique"])) for i in look.get_indexes(name)),
            sorted((k["name"] or "", tuple(k["constrained_columns"])) for k in look.get_foreign_keys(name)),
        )
        for name in look.get_table_names()
    }


def test_every_column_of_every_table_says_something(bare):
    """Or a migration that loses it would go unnoticed: a table that is new has its rows here."""
    database.migrate(bare)
    fill(bare)
    empty_columns = {
        f"{table.name}.{column.name}"
        for table in tables(bare)
        for rows in [read(bare, {table.name: [c.name for c in table.c]})[table.name]]
        for column in table.c
        if all(row[column.name] is None for row in rows)
    }
    assert empty_columns == set()


@pytest.mark.slow
@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_every_released_schema_come_up_and_down_again(bare, revision):
    """Up to this release and back: the same rows in the same tables."""
    migrate_to(bare, revision)
    fill(bare)
    before, then, made = columns(bare), read(bare), shape(bare)
    assert then["jobs"] and then["versions"] and then["aliases"]
    database.migrate(bare)
    assert read(bare, before) == then
    database.downgrade(bare, revision)
    assert database.current_revision(bare) == revision
    assert (columns(bare), shape(bare), read(bare)) == (before, made, then)


@pytest.mark.slow
@pytest.mark.parametrize("revision", REVISIONS)
def test_rows_of_this_release_come_down_to_every_schema_and_up_again(bare, revision):
    """What the earlier one has a place for is there, in it and afterwards."""
    database.migrate(bare)
    fill(bare)
    database.downgrade(bare, revision)
    before, then = columns(bare), read(bare)
    assert {name for name, rows in then.items() if rows} >= {name for name in ROWS if name in before}
    database.migrate(bare)
    assert read(bare, before) == then


def test_what_is_unknown_is_not_migrated_to(engine):
    with pytest.raises(InvalidInput, match="0001_first"):
        database.downgrade(engine, "0000_nothing")


def stamp(engine: Engine, revision: str, oldest: str) -> None:
    """As a newer release leaves it."""
    with engine.begin() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = :r"), {"r": revision})
        connection.execute(sa.text("UPDATE compatibility SET oldest = :o"), {"o": oldest})


def test_a_release_starts_on_the_tables_of_a_newer_one_that_lets_it(engine):
    """A pod of the old release that is started again in the midst of a rolling upgrade."""
    stamp(engine, "9999_later", oldest=REVISIONS[-1])
    assert database.is_usable(engine)
    database.migrate(engine)
    assert database.current_revision(engine) == "9999_later"


def test_a_release_does_not_start_on_tables_that_it_cannot_use_any_more(engine):
    stamp(engine, "9999_later", oldest="9998_contracted")
    for look in (database.migrate, database.is_usable):
        with pytest.raises(NotReady, match="newer release"):
            look(engine)
    with pytest.raises(NotReady, match="newer release"):
        database.downgrade(engine, REVISIONS[0])


@pytest.mark.parametrize("revision", REVISIONS)
def test_migrations_only_add(revision):
    """docs/guides/upgrade.md says what a migration may do, so that the release before goes on beside the new one."""
    assert migration_rules.violations(ast.parse((VERSIONS / f"{revision}.py").read_text())) == []


@pytest.mark.parametrize("revision", REVISIONS[1:])
def test_migrations_have_a_way_back(revision):
    names = [node.name for node in ast.parse((VERSIONS / f"{revision}.py").read_text()).body if hasattr(node, "name")]
    assert {"upgrade", "downgrade"} <= set(names)


BAD = {
    "op.drop_table('jobs')": "drop_table takes something away",
    "op.drop_column('jobs', 'x')": "drop_column takes something away",
    "with op.batch_alter_table('jobs') as jobs: jobs.drop_column('x')": "batch_alter_table makes a table anew",
    "op.rename_table('jobs', 'work')": "rename_table takes something away",
    "op.add_column('jobs', sa.Column('x', sa.Integer(), nullable=False))": "x is NOT NULL without a server_default",
    "op.add_column('jobs', sa.Column('x', sa.Integer(), primary_key=True))": "x is NOT NULL without a server_default",
    "op.alter_column('jobs', 'x', nullable=False)": "alter_column narrows x",
    "op.alter_column('jobs', 'x', new_column_name='y')": "alter_column narrows x",
    "op.alter_column('jobs', 'x', existing_type=sa.String(64), type_=sa.String(32))": "alter_column narrows x",
    "op.create_unique_constraint('u', 'jobs', ['x'])": "create_unique_constraint may refuse what the release before w",
    "op.create_index('i', 'jobs', ['x'], unique=True)": "create_index may refuse what the release before w",
    "op.execute('DROP TABLE jobs')": "SQL takes something away: DROP TABLE jobs",
    "op.execute(sa.text('ALTER TABLE jobs RENAME x TO y'))": "SQL takes something away: ALTER TABLE jobs RENAME x TO y",
    "op.execute(f'DELETE FROM jobs WHERE {1}')": "SQL takes something away: DELETE FROM jobs WHERE",
}


@pytest.mark.parametrize("line", BAD)
def test_what_would_break_the_release_before_is_found(line):
    found = migration_rules.violations(ast.parse(f"def upgrade():\n    helper()\n\ndef helper():\n    {line}\n"))
    assert len(found) == 1 and found[0].startswith(BAD[line])


GOOD = (
    "op.add_column('jobs', sa.Column('x', sa.Integer(), nullable=False, server_default='0'))",
    "op.add_column('jobs', sa.Column('x', sa.Integer()))",
    "op.alter_column('jobs', 'x', existing_type=sa.String(64), type_=sa.String(128))",
    "op.alter_column('jobs', 'x', existing_type=sa.String(length=64), type_=sa.Text())",
    "op.alter_column('jobs', 'x', nullable=True)",
    "op.create_table('new', sa.Column('x', sa.Integer(), nullable=False))\n    "
    "op.create_index('i', 'new', ['x'], unique=True)",
    "op.execute('INSERT INTO counters VALUES (1)')",
)


@pytest.mark.parametrize("line", GOOD)
def test_what_adds_is_let_through_and_the_way_back_may_take_away(line):
    back = "\n\ndef downgrade():\n    op.drop_table('new')\n"
    assert migration_rules.violations(ast.parse(f"def upgrade():\n    {line}\n{back}")) == []


def test_a_contracting_migration_must_say_which_releases_it_shuts_out():
    """It takes away what no release uses that may still run, and raises `compatibility.oldest` to say so."""
    takes = "def upgrade():\n    op.drop_column('jobs', 'x')\n"
    tells = "    op.execute(\"UPDATE compatibility SET oldest = '0007_unused'\")\n"
    assert migration_rules.violations(ast.parse(f"CONTRACTS = True\n{takes}{tells}")) == []
    assert migration_rules.violations(ast.parse(f"CONTRACTS = True\n{takes}")) == [
        "it contracts and does not set compatibility.oldest"
    ]
