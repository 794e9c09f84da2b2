"""Whether a SQLite file is whole. Pages have no checksums: what is found is what SQLite itself would trip over."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from adapters.errors import DatabaseDamaged
from adapters.store.scrub.findings import Finding

QUICK = 5.0  # seconds for a look at a start: some GiB; what is larger is looked at in part
STEPS = 100_000  # of SQLite's machine between looks at the clock, some ms
MOST = 20  # complaints that are told


def refuse_damaged(path: Path, seconds: float = QUICK) -> None:
    """A look at a start. Raises DatabaseDamaged; says nothing of a file that is not there or that is locked."""
    if path.is_file() and (found := _complaints(path, "quick_check(1)", seconds)):
        raise damaged(path, found[0])


def damaged(path: Path, complaint: str) -> DatabaseDamaged:
    """The error for a file of which SQLite complains."""
    return DatabaseDamaged(f"the database {path.name} is damaged ({complaint}); {_fix(path)}", item=path.name)


def findings(path: Path) -> Iterator[Finding]:
    """Everything that SQLite finds wrong with a file; it takes as long as reading all of it."""
    found = _complaints(path, f"integrity_check({MOST})") if path.is_file() else []
    if found:
        yield Finding("damaged", f"the database {path.name}", "; ".join(found), _fix(path), lambda: _reindex(path))


def _fix(path: Path) -> str:
    return (
        "stop everything that uses it and restore it from a backup, or save what can be read: "
        f"sqlite3 {path.name} .recover | sqlite3 saved.sqlite"
    )


def _reindex(path: Path) -> bool:
    """Indices are made from rows, so they can be made anew; True when that was all."""
    try:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("REINDEX")
    except sqlite3.DatabaseError:
        return False
    return not _complaints(path, "integrity_check(1)")


def _complaints(path: Path, pragma: str, seconds: float = float("inf")) -> list[str]:
    """What SQLite says is wrong; empty where nothing is, or where it did not come to an end in time."""
    deadline = time.monotonic() + seconds
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
            return [" ".join(row[0].split()) for row in connection.execute(f"PRAGMA {pragma}") if row[0] != "ok"]
    except sqlite3.OperationalError:  # interrupted by us, locked, or not to be opened, which is told elsewhere
        return []
    except sqlite3.DatabaseError as error:
        return [str(error)]
