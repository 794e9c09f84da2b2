"""The folder that a backup is written in before it has its name: nobody else's to read, and gone when its maker is.

Who was killed could not take it away; the next backup to the same name does, as a lock on it tells whether it lives.
"""

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from adapters.errors import Conflict, InvalidBackup


@contextmanager
def drafted(path: Path) -> Iterator[Path]:
    """An empty folder beside `path`, on the same file system, until the end. Raises OSError."""
    with ExitStack() as stack:
        with _locked(path.parent, fcntl.LOCK_EX):
            _take_away_the_dead(path)
            draft = Path(tempfile.mkdtemp(prefix=_prefix(path), dir=path.parent))  # for its owner's eyes only
            stack.callback(shutil.rmtree, draft, ignore_errors=True)
            stack.enter_context(_locked(draft, fcntl.LOCK_EX | fcntl.LOCK_NB))
        yield draft


def give_name(made: Path, path: Path) -> None:
    """Put what is written whole in its place, and never in that of another. Raises Conflict."""
    try:
        if made.is_dir():
            made.replace(path)  # of two who do this at once the second finds a folder that is not empty
        else:
            _link(made, path)
    except FileExistsError:
        raise taken(path) from None
    except OSError as error:
        if path.exists():
            raise taken(path) from error
        raise


def taken(path: Path) -> Conflict:
    """There is something of that name."""
    return Conflict(f"{path} is there already; name another, or take it away", item=str(path))


def close_to_others(folder: Path) -> None:
    """Whoever copies it elsewhere should not have to think of it: nothing in it is for others to read."""
    for found, folders, files in os.walk(folder):
        for name in folders:
            os.chmod(Path(found, name), 0o700)
        for name in files:
            os.chmod(Path(found, name), 0o600)


def refuse_odd(folder: Path) -> None:
    """Raises InvalidBackup for what no backup has: links lead elsewhere, and reading a pipe never ends."""
    for found, folders, files in os.walk(folder):
        for name in (*folders, *files):
            mode = os.lstat(path := Path(found, name)).st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                where = path.relative_to(folder)
                raise InvalidBackup(f"the backup is damaged: {where} is neither a file nor a folder", item=str(where))


def _prefix(path: Path) -> str:
    return f".{path.name}."


def _take_away_the_dead(path: Path) -> None:
    for draft in path.parent.glob(f"{_escaped(_prefix(path))}????????"):
        with suppress(OSError), _locked(draft, fcntl.LOCK_EX | fcntl.LOCK_NB, strict=True):
            shutil.rmtree(draft)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextmanager
def _locked(folder: Path, kind: int, strict: bool = False) -> Iterator[None]:
    """While the block lasts, or its process; file systems without locks do without unless `strict`. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(handle, kind)
        except OSError:
            if strict:
                raise
        yield
    finally:
        os.close(handle)


def _link(made: Path, path: Path) -> None:
    try:
        os.link(made, path)
    except FileExistsError:
        raise
    except OSError:  # no such links on this file system
        if path.exists():
            raise
        made.replace(path)
