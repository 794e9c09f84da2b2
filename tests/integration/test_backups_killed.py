"""SIGKILL of a backup and of a restore, wherever the installation is: nothing half done under the name, nothing left in
the stores, and the next one works.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner
from support import object_store
from support.databases import empty
from support.services import COMMAND, environment, eventually
from support.stores import Store

from adapters.store import database
from adapters.store.backup import snapshot, tables, target
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import blob_holds
from service.cli import main

KILLED = """
import os, signal, sys
from adapters.store.backup import draft, tables, transfer
from service.cli import main

def end(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def rows(*given, copy=tables.copy):
    copy(*given)
    end()

def blobs(source, target, digests, *_):
    for digest in sorted(digests)[:2]:
        target.put(source.get(digest))
    end()

ways = {"rows": (tables, "copy", rows), "blobs": (transfer, "copy", blobs), "name": (draft, "give_name", end)}
setattr(*ways[sys.argv.pop(1)])
main(sys.argv[1:])
"""


SOUND = "1 found, 0 mended"  # that there is no backbone, which these heads never had


@dataclass(frozen=True, slots=True)
class Place:
    """An installation with a head in it, as settings name it."""

    home: Path
    settings: dict[str, str]
    store: Store

    def killed(self, moment: str, *arguments: object) -> None:
        """A command that ends so when it has come so far."""
        said = [sys.executable, "-c", KILLED, moment, *map(str, arguments)]
        env = environment(self.home, **self.settings)
        ended = subprocess.run(said, env=env, capture_output=True, text=True, timeout=COMMAND)
        assert ended.returncode == -signal.SIGKILL, ended.stderr

    def run(self, *arguments: object, code: int = 0) -> str:
        """A command to its end."""
        env = {f"ESPALIER_{name.upper()}": value for name, value in self.settings.items()}
        done = CliRunner().invoke(main, [*map(str, arguments)], env=env | {"ESPALIER_HOME": str(self.home)})
        assert done.exit_code == code, done.output
        return done.output

    def contents(self) -> dict[str, tables.Content]:
        with snapshot.frozen(self.store.engine) as connection:
            return tables.contents(connection)

    def let_time_pass(self) -> None:
        """Until nobody waits any more for who was killed."""
        with self.store.engine.begin() as connection:
            connection.execute(blob_holds.update().values(since=database.now() - blobs.SILENCE))


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_store.ObjectStore]:
    with object_store.running(tmp_path_factory.mktemp("bucket")) as running:
        yield running


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    home, settings = tmp_path / "home", {}
    for name in ("DATABASE_URL", "ARTIFACTS_URL", "JOBS_DATABASE_URL"):
        monkeypatch.delenv(f"ESPALIER_{name}", raising=False)
    if request.param == "postgres":
        bucket: object_store.ObjectStore = request.getfixturevalue("bucket")
        for name, value in bucket.environment().items():
            monkeypatch.setenv(name, value)
        settings["database_url"] = request.getfixturevalue("empty_postgres")
        settings["artifacts_url"] = bucket.url(tmp_path.name)
    home.mkdir()
    engine = database.connect(settings.get("database_url", f"sqlite:///{home / 'espalier.sqlite'}"))
    database.migrate(engine)
    store = Store(engine, Artifacts(settings.get("artifacts_url", str(home / "artifacts"))))
    store.teach("abc", "cats")
    yield Place(home, settings, store)
    if request.param == "postgres":
        empty(engine)
    engine.dispose()


def abandoned(engine: sa.Engine) -> int:
    """Transactions that Postgres keeps open for somebody who does nothing."""
    if engine.dialect.name != "postgresql":
        return 0
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state LIKE 'idle in%'"
    with engine.connect() as connection:
        return int(connection.execute(sa.text(query)).scalar_one())


@pytest.mark.slow
def test_a_backup_that_is_killed_leaves_nothing_and_the_next_one_works(place, tmp_path) -> None:
    path = tmp_path / "backups" / "one.tar"
    rows, there = place.contents(), place.store.there()
    for moment, held in {"rows": 1, "blobs": 2, "name": 2}.items():  # then all is copied, and nothing held any more
        place.killed(moment, "backup", path)
        assert not path.exists()
        assert place.store.there() == there and place.store.lost() == []
        assert place.store.count(blob_holds) == held, "for a while"
        assert place.contents() == rows
        assert eventually(lambda: abandoned(place.store.engine) == 0)
        assert len(list(path.parent.iterdir())) == 1, "its folder, and that of nobody before it"
    place.run("backup", path)
    assert [found.name for found in path.parent.iterdir()] == ["one.tar"]
    place.let_time_pass()
    place.store.sweep()
    assert place.store.count(blob_holds) == 0 and place.store.there() == there
    assert SOUND in place.run("check", code=1)
    assert "everything in it is as it was written" in place.run("restore", "--dry-run", path)


def test_a_restore_that_is_killed_is_done_by_the_next(place, tmp_path) -> None:
    """Into stores that have something of it by now."""
    path = tmp_path / "backups" / "one.tar"
    rows, there = place.contents(), place.store.there()
    place.run("backup", path)
    place.store.artifacts.delete(there)
    empty(place.store.engine)
    for moment in ("blobs", "rows"):
        place.killed(moment, "restore", path)
        with place.store.engine.connect() as connection:
            assert tables.filled(connection, target.MADE_BY_ITSELF) == {}
        assert place.store.there() <= there
    place.run("restore", path)
    assert place.contents() == rows and place.store.there() == there
    assert SOUND in place.run("check", code=1)
    assert os.listdir(path.parent) == ["one.tar"]
