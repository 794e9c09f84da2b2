"""SQLite's file gives back what was deleted: free pages to the system a few at a time, and the log of writes.

Postgres does this by itself. Free pages are used again, so a few are left where they are.
"""

import logging
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

log = logging.getLogger("espalier.store")
INCREMENTAL = 2  # of PRAGMA auto_vacuum
SLACK = 1024  # free pages, of 4 KiB, that are left for what comes next
PAGES = 256  # given back in one transaction, so that writers do not wait long
LONG_LOG = 8 << 20  # bytes: twice what SQLite lets it grow to before it writes it back
CHEAP = 128 << 20  # bytes of a file that is rebuilt at a start without asking
PATIENCE = 1.0  # seconds to wait for a writer


def compact(path: Path) -> None:
    """Give back what is free. Does nothing to a file that was made before this was possible: see `convert`."""
    with _opened(path) as connection:
        if _number(connection, "auto_vacuum") == INCREMENTAL:
            while _number(connection, "freelist_count") > SLACK:
                connection.execute(f"PRAGMA incremental_vacuum({PAGES})").fetchall()  # a page at each step
        if _size(Path(f"{path}-wal")) > LONG_LOG:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def convert(path: Path) -> None:
    """Make an old file one that can give back pages: it is written anew, once, where that takes little."""
    with _opened(path) as connection:
        if _number(connection, "auto_vacuum") == INCREMENTAL:
            return
        size = _size(path)
        if size > CHEAP or shutil.disk_usage(path.parent).free < 3 * size:
            way = "PRAGMA auto_vacuum=INCREMENTAL; VACUUM"
            log.info("%s keeps what is deleted for its own use; to shrink it, stop all and run: %s", path.name, way)
            return
        connection.execute(f"PRAGMA auto_vacuum={INCREMENTAL}")
        connection.execute("VACUUM")


@contextmanager
def _opened(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection for a while; that the file is busy is no error: there is another time."""
    try:
        with closing(sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete=ON")
            yield connection
    except sqlite3.OperationalError as error:
        log.info("could not compact %s: %s", path.name, error)


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
