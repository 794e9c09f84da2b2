"""A backup is the rows of one moment with every blob of theirs; restored, or moved to other stores, all is the same."""

import hashlib
import json
import os
import shutil
import signal
import sqlite3
import tarfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from click.testing import CliRunner, Result
from support import object_store
from support.databases import empty
from support.stores import Store, sha
from support.training import Bench, bench, picture, small

from adapters.errors import StorageError
from adapters.store import backbones, database, heads, jobs, leases
from adapters.store.backup import archive, manifest, snapshot, tables, transfer
from adapters.store.backup.target import MADE_BY_ITSELF
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import blob_holds, metadata
from service.cli import main

Command = Callable[..., Result]


def quiet(done: int, total: int) -> None:
    """Tells nobody."""


@pytest.fixture
def home(filled: Path, tmp_path: Path) -> Path:
    """One's own."""
    return Path(shutil.copytree(filled, tmp_path / "home"))


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two heads, one of two versions, a number of one that was deleted, a failed job and one that waits."""
    folder = tmp_path_factory.mktemp("filled")
    with bench(folder) as made:
        shop = replace(made.shop, artifacts=Artifacts(str(folder / "artifacts")))
        _fill(Bench(shop))
    return folder


def _fill(made: Bench) -> None:
    engine, artifacts = made.shop.engine, made.shop.artifacts
    graph = small()
    backbone = backbones.find(engine, "small")
    with engine.begin() as connection:
        connection.execute(metadata.tables["backbones"].delete())
    backbones.add(engine, artifacts, replace(backbone, artifact=_sha(graph)), graph)
    for start, head in ((0, "cats"), (100, "größe.ü")):
        made.teach(head, [picture(start + n, "abc"[n % 3]) for n in range(24)])
    made.teach("cats", [picture(200 + n, "abc"[n % 3]) for n in range(6)])
    made.teach("gone", [picture(300 + n, "ab"[n % 2]) for n in range(12)])
    heads.delete(engine, "gone")
    failed = made.job("cats", [picture(400, "a")])
    jobs.abandon(engine, failed.id, "failed", {"code": "x", "message": "é \\ \u2028", "item": None})
    made.job("dogs", [picture(500 + n, "ab"[n % 2]) for n in range(12)])
    blobs.sweep(engine, artifacts)


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def command(home: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command line on that home, or on what the options say."""

    def run(*arguments: object, code: int = 0, **environment: object) -> Result:
        chosen = {"home": home} | environment
        monkeypatch.delenv("ESPALIER_DATABASE_URL", raising=False)
        monkeypatch.delenv("ESPALIER_ARTIFACTS_URL", raising=False)
        for name, value in chosen.items():
            monkeypatch.setenv(f"ESPALIER_{name.upper()}", str(value))
        done = CliRunner().invoke(main, [str(a) for a in arguments])
        assert done.exit_code == code, done.output
        return done

    return run


@pytest.fixture(scope="module")
def made(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A backup of it."""
    folder = tmp_path_factory.mktemp("made") / "backup"
    engine, artifacts = database.connect(sqlite_url(filled)), Artifacts(str(filled / "artifacts"))
    archive.create(engine, artifacts, folder, "0", quiet)
    engine.dispose()
    return folder


@pytest.fixture
def backup(made: Path, tmp_path: Path) -> Path:
    """One's own."""
    return Path(shutil.copytree(made, tmp_path / "backup"))


def contents(url: str) -> dict[str, tables.Content]:
    engine = database.connect(url)
    try:
        with snapshot.frozen(engine) as connection:
            return tables.contents(connection)
    finally:
        engine.dispose()


def sqlite_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'espalier.sqlite'}"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_what_is_restored_into_a_new_home_is_the_same_to_the_last_row_and_answer(command, home, tmp_path, name):
    made = json.loads(command("backup", tmp_path / name, "--json").stdout)
    assert made["tables"]["heads"] == 2 and made["answers"] == 4 and made["lost"] == []
    new = tmp_path / "new"
    told = json.loads(command("restore", tmp_path / name, "--json", home=new).stdout)
    assert told["differences"] == [] and told["verified"] and told["blobs"] == made["blobs"]
    assert contents(sqlite_url(home)) == contents(sqlite_url(new))
    assert command("check", home=new).stdout == "everything is as it was stored\n"
    mode = (tmp_path / name).stat().st_mode & 0o777
    assert mode == (0o700 if (tmp_path / name).is_dir() else 0o600)  # others may not read what people sent


def test_text_of_json_and_what_is_null_stay_as_they_are(command, home, tmp_path):
    """`null` as JSON and no value are not the same to SQL, and numbers must not be written otherwise."""
    with closing(sqlite3.connect(home / "espalier.sqlite")) as connection:
        connection.execute("UPDATE jobs SET metrics = NULL, report = 'null', error = '{\"a\":  1e3}'")
        connection.commit()
    command("backup", tmp_path / "backup")
    command("restore", tmp_path / "backup", home=tmp_path / "new")
    with closing(sqlite3.connect(tmp_path / "new" / "espalier.sqlite")) as connection:
        found = set(connection.execute("SELECT metrics, report, error FROM jobs"))
    assert found == {(None, "null", '{"a":  1e3}')}


def test_a_job_that_was_under_way_is_anybodys_in_the_copy_and_counts_no_death(command, home, tmp_path):
    engine = database.connect(sqlite_url(home))
    lease = leases.claim(engine, "one")
    assert lease is not None and lease.head == "dogs"
    blobs.JobArtifacts(engine, Artifacts(str(home / "artifacts")), lease.job_id).put(b"a draft")
    command("backup", tmp_path / "backup")
    command("restore", tmp_path / "backup", home=tmp_path / "new")
    copy = database.connect(sqlite_url(tmp_path / "new"))
    taken = leases.claim(copy, "two")
    assert taken is not None and (taken.job_id, taken.deaths) == (lease.job_id, 0)
    leases.renew(engine, lease)  # and in the original it is still its worker's
    for each in (engine, copy):
        each.dispose()


def test_a_backup_without_embeddings_has_all_else(command, home, tmp_path):
    command("backup", tmp_path / "backup", "--without-embeddings", "--answers", 0)
    command("restore", tmp_path / "backup", home=tmp_path / "new")
    before, after = contents(sqlite_url(home)), contents(sqlite_url(tmp_path / "new"))
    assert before.pop("embeddings").rows > 0 == after.pop("embeddings").rows
    assert before == after


def test_nothing_is_overwritten(command, backup, tmp_path):
    assert "is there already" in command("backup", tmp_path / "backup", code=1).output
    assert "there is an installation already" in command("restore", tmp_path / "backup", code=1).output
    assert (
        "there is an installation already (2 rows in aliases" in command("restore", tmp_path / "backup", code=1).output
    )


HARMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "no manifest": (lambda b: (b / "manifest.json").unlink(), "is no backup"),
    "half a manifest": (lambda b: _cut(b / "manifest.json"), "damaged: it is not JSON"),
    "half of its parts": (lambda b: _rewrite(b, {"blobs": ...}), "parts of it are missing"),
    "rows": (lambda b: _flip(b / "database.sqlite"), "database.sqlite is not as it was written"),
    "no rows": (lambda b: (b / "database.sqlite").unlink(), "database.sqlite is not there"),
    "a blob": (lambda b: _flip(_largest(b)), "was altered in the store"),
    "no blob": (lambda b: _largest(b).unlink(), "1 blobs are missing"),
    "a newer release": (lambda b: _rewrite(b, {"schema": "9999_later"}), "made by a newer release"),
    "a newer format": (lambda b: _rewrite(b, {"format": 2}), "made by a newer release"),
    "no format": (lambda b: (b / "manifest.json").write_text("[]"), "is none of a backup"),
}


@pytest.mark.parametrize(("harm", "said"), HARMS.values(), ids=HARMS)
def test_a_backup_that_is_damaged_or_newer_is_refused_and_leaves_room_for_another(
    command, backup, tmp_path, harm, said
):
    new = tmp_path / "new"
    harm(backup)
    told = command("restore", backup, home=new, code=1).output
    assert said in told and "Traceback" not in told
    if (new / "espalier.sqlite").exists():
        engine = database.connect(sqlite_url(new))
        with database.reading(engine) as connection:
            assert set(tables.filled(connection, ())) <= set(MADE_BY_ITSELF)
        engine.dispose()


def test_a_backup_of_an_older_release_is_brought_up_to_date_and_stays_as_it_is(command, backup, tmp_path):
    engine = database.connect(f"sqlite:///{backup / 'database.sqlite'}")
    database.downgrade(engine, "0005_replicas")
    engine.dispose()
    snapshot.close(backup / "database.sqlite")
    _rewrite(backup, {"schema": "0005_replicas", "database": manifest.database_facts(backup)})
    before = {path: path.read_bytes() for path in backup.rglob("*") if path.is_file()}
    told = json.loads(command("restore", backup, "--json", home=tmp_path / "new").stdout)
    assert told["differences"] == [] and told["schema"] == "0005_replicas"
    assert command("check", home=tmp_path / "new").stdout == "everything is as it was stored\n"
    assert {path: path.read_bytes() for path in backup.rglob("*") if path.is_file()} == before


def test_a_restore_that_breaks_off_leaves_an_installation_that_the_next_one_fills(
    command, backup, home, tmp_path, monkeypatch
):
    def breaks_off(connection: sa.Connection, table: sa.Table) -> object:
        if table.name == "versions":
            raise OSError(5, "Input/output error", "database.sqlite")
        return real(connection, table)

    real = tables._batches
    with monkeypatch.context() as broken:
        broken.setattr(tables, "_batches", breaks_off)
        assert "Input/output error" in command("restore", backup, home=tmp_path / "new", code=1).output
    assert not contents(sqlite_url(tmp_path / "new"))["heads"].rows
    command("restore", backup, home=tmp_path / "new")
    assert contents(sqlite_url(tmp_path / "new")) == contents(sqlite_url(home))


def test_a_backup_that_is_told_to_stop_leaves_nothing_half_done(home, tmp_path, monkeypatch):
    """SIGTERM, as from Kubernetes, in the middle of the copy."""
    monkeypatch.setenv("ESPALIER_HOME", str(home))
    monkeypatch.setattr(transfer, "copy", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    done = CliRunner().invoke(main, ["backup", str(tmp_path / "backups" / "one")])
    assert done.exit_code == 128 + signal.SIGTERM and list((tmp_path / "backups").iterdir()) == []
    engine = database.connect(sqlite_url(home))
    with database.reading(engine) as connection:
        assert connection.execute(sa.select(blob_holds)).all() == []
    engine.dispose()


def test_a_dry_run_reads_all_of_it_and_writes_nothing(command, backup, tmp_path):
    assert "everything in it is as it was written" in command("restore", backup, "--dry-run").output
    _flip(_largest(backup))
    told = command("restore", backup, "--dry-run", home=tmp_path / "new", code=1).output
    assert "is damaged or missing" in told and not (tmp_path / "new").exists()


def test_a_tar_file_that_leads_out_of_its_folder_is_refused(command, tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    with tarfile.open(tmp_path / "odd.tar", "w") as packed:
        packed.add(tmp_path / "manifest.json", "../../manifest.json")
    assert "no tar file of a backup" in command("restore", tmp_path / "odd.tar", home=tmp_path / "new", code=1).output
    (tmp_path / "cut.tar").write_bytes((tmp_path / "odd.tar").read_bytes()[:700])
    assert "Error:" in command("restore", tmp_path / "cut.tar", home=tmp_path / "new", code=1).output


def test_a_damaged_blob_fails_a_backup_that_may_leave_it_out_and_say_so(command, home, tmp_path):
    _flip(_largest(home / "artifacts"))
    assert "was altered" in command("backup", tmp_path / "backup", code=1).output
    assert sorted(path.name for path in tmp_path.iterdir() if "backup" in path.name) == []
    made = command("backup", tmp_path / "backup", "--skip-damaged", code=1).output
    assert f"not in it, being damaged or missing: the blob {_largest(home / 'artifacts').name}" in made
    told = command("restore", tmp_path / "backup", home=tmp_path / "new").output
    assert "the same as in the backup" in told
    found = command("check", home=tmp_path / "new", code=1).output
    assert found.startswith("missing: ") and found.endswith("1 found, 0 mended\n")


def test_what_is_deleted_during_a_backup_stays_until_it_is_made(home, tmp_path, monkeypatch):
    engine, artifacts = database.connect(sqlite_url(home)), Artifacts(str(home / "artifacts"))
    store, real = Store(engine, artifacts), archive.transfer.copy

    def copy(*arguments: object) -> list[str]:
        heads.delete(engine, "cats")
        store.teach("ab", "new")
        assert blobs.sweep(engine, artifacts) == 0
        return real(*arguments)  # type: ignore[arg-type]

    before = {blob.name for blob in artifacts.list()}
    monkeypatch.setattr(archive.transfer, "copy", copy)
    archive.create(engine, artifacts, tmp_path / "backup", "0", quiet)
    with archive.opened(tmp_path / "backup") as found:
        assert found.referred() <= before and sha("a") not in found.referred()
        assert {head.name for head in heads.page(found.rows, limit=9)} == {"cats", "größe.ü"}
    after = {blob.name for blob in artifacts.list()}
    assert before - after and after >= {sha("a"), sha("b")}  # what nobody needs went at the end of the backup
    engine.dispose()


def test_a_backup_that_was_killed_holds_nothing_up_for_long(home, monkeypatch):
    engine, artifacts = database.connect(sqlite_url(home)), Artifacts(str(home / "artifacts"))
    blobs.hold(engine, "killed", [blobs.EVERYTHING])
    heads.delete(engine, "cats")
    assert blobs.sweep(engine, artifacts) == 0
    with engine.begin() as connection:
        connection.execute(blob_holds.update().values(since=database.now() - blobs.SILENCE))
    assert blobs.sweep(engine, artifacts) > 0
    with pytest.raises(StorageError, match="start it again"), blobs.holding_everything(engine, artifacts) as here:
        with engine.begin() as connection:
            connection.execute(blob_holds.delete())
        here()
    engine.dispose()


def test_an_installation_moves_to_other_stores_and_says_when_it_was_written_to(command, home, tmp_path, monkeypatch):
    goal = ("--to-database", sqlite_url(tmp_path / "new"), "--to-artifacts", tmp_path / "blobs")
    assert "written to" not in command("move", *goal).output
    assert contents(sqlite_url(home)) == contents(sqlite_url(tmp_path / "new"))
    assert "an installation already" in command("move", *goal, code=1).output
    same = ("--to-database", sqlite_url(tmp_path / "other"), "--to-artifacts", home / "artifacts")
    assert "delete each other's blobs" in command("move", *same, code=1).output
    _write_meanwhile(home, monkeypatch)
    goal = ("--to-database", sqlite_url(tmp_path / "third"), "--to-artifacts", tmp_path / "more")
    assert "written to while it was copied (aliases" in command("move", *goal, code=1).output


def _write_meanwhile(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = transfer.copy

    def copy(*arguments: object) -> list[str]:
        engine = database.connect(sqlite_url(home))
        heads.delete(engine, "cats")
        engine.dispose()
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "copy", copy)


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[object_store.ObjectStore]:
    with object_store.running(tmp_path_factory.mktemp("bucket")) as running:
        yield running


@pytest.mark.slow
@pytest.mark.postgres
def test_a_home_moves_to_postgres_and_s3_and_back_and_checks_out_in_each(
    command, home, tmp_path, empty_postgres, bucket, monkeypatch
):
    """Both ways, by `move` and by a backup of either; numbers, keys and generation go with it."""
    for name, value in bucket.environment().items():
        monkeypatch.setenv(name, value)
    wanted = contents(sqlite_url(home))
    far = {"database_url": empty_postgres, "artifacts_url": bucket.url("moved")}
    command("move", "--to-database", far["database_url"], "--to-artifacts", far["artifacts_url"])
    assert contents(empty_postgres) == wanted
    assert command("check", **far).stdout == "everything is as it was stored\n"
    back = ("--to-database", sqlite_url(tmp_path / "back"), "--to-artifacts", tmp_path / "back" / "artifacts")
    command("move", *back, **far)
    command("backup", tmp_path / "backup.tar", **far)
    command("restore", tmp_path / "backup.tar", home=tmp_path / "restored")
    for folder in ("back", "restored"):
        assert contents(sqlite_url(tmp_path / folder)) == wanted
        assert command("check", home=tmp_path / folder).stdout == "everything is as it was stored\n"
    engine = database.connect(empty_postgres)
    empty(engine)
    engine.dispose()
    again = far | {"artifacts_url": bucket.url("again")}
    command("restore", tmp_path / "backup.tar", **again)
    assert contents(empty_postgres) == wanted


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def _rewrite(backup: Path, changes: dict[str, object]) -> None:
    facts = json.loads((backup / "manifest.json").read_text()) | changes
    kept = {name: value for name, value in facts.items() if value is not ...}
    (backup / "manifest.json").write_text(json.dumps(kept))


def _largest(folder: Path) -> Path:
    return max((folder / "blobs").glob("*/*"), key=lambda path: path.stat().st_size)
