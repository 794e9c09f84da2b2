"""A backup and a move have every table there is, with every column: one that is new is in them unless it says no."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from support.databases import empty

from adapters.store import database
from adapters.store.backup import archive, tables, target
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import PASSING, metadata
from service.cli import main

ROWS = 3
COPIED = {t.name for t in metadata.tables.values() if t.info != PASSING}
OF_MIGRATIONS = ("generation", "counters", "audit_chain_end", "compatibility")


def _known(digest: str) -> dict[str, Any]:
    """Columns that something reads on the way, and so must make sense."""
    data = {"data": {"digest": digest}, "backbone": {"digest": digest, "name": "b"}}
    manifest = data | {"method": "ridge", "classes": ["x", "ü"], "metrics": {"accuracy": 0.5}}
    return {"sha256": digest, "digest": digest, "facts": {"artifact": digest}, "manifest": manifest}


def _value(column: sa.Column[Any], number: int) -> Any:
    """Another in each row, and never what it would be by itself."""
    kind = column.type
    if isinstance(kind, sa.JSON):
        return {"n": number, "ü": [None, 1e3, "\u2028"]}
    if isinstance(kind, sa.DateTime):
        return database.now().replace(microsecond=number + 1)
    if isinstance(kind, sa.LargeBinary):
        return bytes([number, 0, 255])
    if isinstance(kind, sa.Boolean):
        return True
    return number + 0.25 if isinstance(kind, sa.Float) else number + 1 if isinstance(kind, sa.Integer) else f"é{number}"


def fill(engine: sa.engine.Engine, digests: list[str]) -> None:
    """Rows in every table, each column of which says something."""
    with engine.begin() as connection:
        for name in OF_MIGRATIONS:
            connection.execute(metadata.tables[name].delete())
        for table in metadata.sorted_tables:
            for number, digest in enumerate(digests[:1] if table.name in OF_MIGRATIONS else digests):
                connection.execute(table.insert().values(**_row(connection, table, number, digest)))


def _row(connection: sa.Connection, table: sa.Table, number: int, digest: str) -> dict[str, Any]:
    known = _known(digest)
    row = {column.name: known.get(column.name, _value(column, number)) for column in table.c}
    for constraint in table.foreign_key_constraints:
        parent = connection.execute(sa.select(constraint.referred_table)).mappings().all()[number]
        row |= {element.parent.name: parent[element.column.name] for element in constraint.elements}
    return row


def raw(path: Path) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table of a file, as SQLite has it."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        return {name: sorted(connection.execute(f"SELECT * FROM {name}"), key=repr) for (name,) in found}


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    engine, artifacts = (
        database.connect(f"sqlite:///{tmp_path / 'old' / 'espalier.sqlite'}"),
        Artifacts(str(tmp_path / "old" / "artifacts")),
    )
    database.migrate(engine)
    fill(engine, [artifacts.put(f"blob {number}".encode()) for number in range(ROWS)])
    engine.dispose()
    yield tmp_path / "old"


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str, home: Path, **settings: str) -> str:
    for name in ("DATABASE_URL", "ARTIFACTS_URL"):
        monkeypatch.delenv(f"ESPALIER_{name}", raising=False)
    for name, value in ({"home": str(home)} | settings).items():
        monkeypatch.setenv(f"ESPALIER_{name.upper()}", value)
    done = CliRunner().invoke(main, list(arguments), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def same(before: Path, after: Path) -> None:
    """All tables alike, but for those that stay behind, which are as in a new installation."""
    was, now = raw(before / "espalier.sqlite"), raw(after / "espalier.sqlite")
    assert was.keys() == now.keys() >= metadata.tables.keys()
    passing = {(t.name, n) for t in metadata.tables.values() for n, c in enumerate(t.c) if tables._passing(c)}
    for name in COPIED:
        assert was[name], name
        kept = [tuple(None if (name, n) in passing else v for n, v in enumerate(row)) for row in was[name]]
        assert now[name] == sorted(kept, key=repr), name
    left = {name for name in metadata.tables.keys() - COPIED if now[name]}
    assert left <= {"compatibility"}


def test_no_table_of_the_database_is_unknown_to_a_backup(engine) -> None:
    """Also one that a migration made and nobody told the schema of."""
    there = set(sa.inspect(engine).get_table_names()) - {"alembic_version"}
    assert there == {table.name for table in tables.copied()} | {
        t.name for t in metadata.tables.values() if t.info == PASSING
    }


def test_an_installation_that_was_only_just_made_counts_as_empty(engine) -> None:
    with database.reading(engine) as connection:
        target._refuse_filled(connection)


def test_a_backup_has_every_row_of_every_table(home, tmp_path, monkeypatch) -> None:
    command(monkeypatch, "backup", str(tmp_path / "backup"), "--answers", "0", home=home)
    with archive.opened(tmp_path / "backup") as found:
        assert found.manifest.tables.keys() == COPIED and all(c.rows for c in found.manifest.tables.values())
    told = command(monkeypatch, "restore", str(tmp_path / "backup"), "--json", home=tmp_path / "new")
    assert json.loads(told)["differences"] == []
    same(home, tmp_path / "new")


@pytest.mark.postgres
def test_every_row_moves_to_postgres_and_back(home, tmp_path, empty_postgres, monkeypatch) -> None:
    far = {"database_url": empty_postgres, "artifacts_url": str(tmp_path / "far")}
    goal = ("--to-database", far["database_url"], "--to-artifacts", far["artifacts_url"])
    assert json.loads(command(monkeypatch, "move", *goal, "--json", home=home))["differences"] == []
    back = tmp_path / "back"
    goal = ("--to-database", f"sqlite:///{back / 'espalier.sqlite'}", "--to-artifacts", str(back / "artifacts"))
    assert json.loads(command(monkeypatch, "move", *goal, "--json", home=home, **far))["differences"] == []
    same(home, back)
    engine = database.connect(empty_postgres)
    empty(engine)
    engine.dispose()
