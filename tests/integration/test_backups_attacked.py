"""Backups that somebody has tampered with, that are made twice at once, or meet a full disk."""

import os
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.stores import Store, opened

from adapters.errors import Conflict, InvalidBackup, InvalidInput
from adapters.store import database
from adapters.store.backup import archive, target, transfer
from adapters.store.objects.artifacts import Artifacts
from adapters.store.schema import blob_holds, version_blobs
from service.cli import main


def quiet(done: int, total: int) -> None:
    """Tells nobody."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = opened(tmp_path / "home")
    made.teach("abc", "cats")
    yield made
    made.engine.dispose()


def make(store: Store, path: Path) -> str:
    return archive.create(store.engine, store.artifacts, path, "0", quiet)[1]


def restored(path: Path, home: Path) -> list[str]:
    """What is another in an installation that was filled from a backup."""
    engine, artifacts = database.connect(f"sqlite:///{home / 'espalier.sqlite'}"), Artifacts(str(home / "artifacts"))
    try:
        with archive.opened(path) as backup:
            digests = backup.referred()
            target.fill(backup.rows, backup.blobs, engine, artifacts, digests, quiet)
            return target.differences(backup.rows, engine, artifacts, digests)
    finally:
        engine.dispose()


def blob(folder: Path) -> Path:
    return next(iter(sorted((folder / "blobs").glob("*/*"))))


def _link(place: Path, goal: Path) -> None:
    place.unlink()
    place.symlink_to(goal)


def _moved(place: Path, goal: Path) -> None:
    place.rename(goal)
    place.symlink_to(goal)


def _pipe(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


ODD: dict[str, Callable[[Path], object]] = {
    "a blob that is a link to the same bytes": lambda b: _moved(blob(b), b.parent / "moved"),
    "a blob that never ends": lambda b: _link(blob(b), Path("/dev/zero")),
    "a blob that is a pipe": lambda b: _pipe(blob(b)),
    "rows of elsewhere": lambda b: _link(b / "database.sqlite", b.parent / "home" / "espalier.sqlite"),
    "a manifest that never ends": lambda b: _link(b / "manifest.json", Path("/dev/zero")),
    "a folder of elsewhere": lambda b: _link_folder(b),
}


def _link_folder(backup: Path) -> None:
    (backup / "blobs").rename(backup.parent / "elsewhere")
    (backup / "blobs").symlink_to(backup.parent / "elsewhere")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folder", "tar"])
@pytest.mark.parametrize("harm", ODD.values(), ids=ODD)
def test_what_is_neither_file_nor_folder_is_refused_by_name(store, tmp_path, harm, form) -> None:
    make(store, tmp_path / "backup")
    harm(tmp_path / "backup")
    path = tmp_path / "backup"
    if form == "tar":
        path = tmp_path / "backup.tar"
        with tarfile.open(path, "w") as packed:
            packed.add(tmp_path / "backup", "backup")
    with pytest.raises(InvalidBackup, match="neither a file nor a folder") as found:
        restored(path, tmp_path / "new")
    assert found.value.item and not (tmp_path / "new" / "artifacts" / "blobs").exists()


def test_a_tar_file_whose_files_grow_as_they_are_unpacked_is_refused(store, tmp_path) -> None:
    """A hole of a terabyte takes a few bytes in a tar file with holes."""
    (tmp_path / "odd").mkdir()
    with (tmp_path / "odd" / "manifest.json").open("wb") as file:
        file.truncate(1 << 40)
    subprocess.run(["tar", "--sparse", "-cf", tmp_path / "odd.tar", "-C", tmp_path, "odd"], check=True)
    assert (tmp_path / "odd.tar").stat().st_size < 1 << 20
    with pytest.raises(InvalidBackup, match="neither a file nor a folder"):
        restored(tmp_path / "odd.tar", tmp_path / "new")


def test_nothing_in_a_backup_is_for_others_to_read_wherever_it_is_copied(store, tmp_path) -> None:
    made = tmp_path / "backup"
    make(store, made)
    assert {path.stat().st_mode & 0o777 for path in (made, *made.rglob("*")) if path.is_dir()} == {0o700}
    assert {path.stat().st_mode & 0o777 for path in made.rglob("*") if path.is_file()} == {0o600}
    make(store, tmp_path / "backup.tar")
    with tarfile.open(tmp_path / "backup.tar") as packed:
        assert {member.mode & 0o077 for member in packed} == {0}


@pytest.mark.parametrize("name", ["backup", "backup.tar"])
def test_of_two_who_make_one_backup_at_once_the_second_is_refused_and_both_leave_nothing(
    store, tmp_path, monkeypatch, name
) -> None:
    real, path = transfer.copy, tmp_path / "backups" / name

    def copy(*arguments: object) -> list[str]:
        monkeypatch.setattr(transfer, "copy", real)
        make(store, path)  # the other, which is faster
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "copy", copy)
    with pytest.raises(Conflict, match="is there already"):
        make(store, path)
    assert [found.name for found in path.parent.iterdir()] == [name]
    assert restored(path, tmp_path / "new") == []


def test_a_backup_is_put_in_the_place_of_nothing(store, tmp_path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(Conflict):
        make(store, tmp_path / "link")
    with pytest.raises(InvalidInput, match="compress it afterwards"):
        make(store, tmp_path / "backup.tar.gz")


@pytest.mark.parametrize("name", ["back[u]p", "backup.tar"])
def test_what_a_killed_backup_has_left_is_taken_away_by_the_next_and_that_of_one_at_work_is_not(
    store, tmp_path, monkeypatch, name
) -> None:
    path = tmp_path / "backups" / name
    dead = tmp_path / "backups" / f".{name}.abcd1234"
    (dead / "blobs").mkdir(parents=True)
    other = tmp_path / "backups" / f".other.{name}.abcd1234"
    other.mkdir()
    real = transfer.copy

    def copy(*arguments: object) -> list[str]:
        monkeypatch.setattr(transfer, "copy", real)
        with pytest.raises(InvalidInput):  # the next one, while we are at it
            archive.create(store.engine, store.artifacts, path, "0", _refuse)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(transfer, "copy", copy)
    make(store, path)
    assert sorted(found.name for found in path.parent.iterdir()) == sorted([name, other.name])
    assert restored(path, tmp_path / "new") == []


def _refuse(done: int, total: int) -> None:
    raise InvalidInput("told to stop")


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of so many KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    options = f"size={request.param}k"
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip() or 'needs root'}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


FULL = {"rows": ("one", 128), "blobs": ("one", 2560), "tar": ("one.tar", 7168)}  # what has no room any more


@pytest.mark.parametrize(("name", "small_disk"), FULL.values(), ids=FULL, indirect=["small_disk"])
def test_a_disk_that_is_full_in_the_middle_is_told_and_nothing_half_done_is_left(
    store, tmp_path, small_disk, name, monkeypatch
) -> None:
    monkeypatch.setenv("ESPALIER_HOME", str(tmp_path / "home"))
    for _ in range(4):
        digest = store.artifacts.put(os.urandom(1 << 20))
        with store.engine.begin() as connection:
            connection.execute(version_blobs.insert().values(head="cats", number=1, digest=digest))
    done = CliRunner().invoke(main, ["backup", str(small_disk / name), "--answers", "0"])
    assert done.exit_code == 1 and done.output.startswith("Error: "), (done.output, done.exception)
    assert "space" in done.output or "full" in done.output
    assert list(small_disk.iterdir()) == [] and store.count(blob_holds) == 0
