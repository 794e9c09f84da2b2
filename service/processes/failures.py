"""What an error means for the job that met it: the caller's to mend, and final; or anybody else's, and tried again.

The one place that decides it, and that says it: what a driver or a library says has addresses and statements in it,
which are for the log.
"""

import errno
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from adapters.errors import (
    Conflict,
    CorruptArtifact,
    EspalierError,
    InvalidInput,
    NotFound,
    NotReady,
    ParityError,
    StorageError,
    StorageFull,
)
from adapters.problems import listed

FINAL = (InvalidInput, NotFound, Conflict, ParityError)  # the same job would meet them again
UNEXPECTED = 5  # tries after an error that nobody foresaw: it may go by, but most will not
FIRST, LONGEST = 1.0, 15.0  # seconds before the first further try, twice as many before each next, and at most
AWAY = (sa.exc.SQLAlchemyError, NotReady, StorageError, StorageFull)  # what goes by
FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt ended without an end of its job, in words for the job's owner."""

    code: str
    message: str
    item: str | None = None
    fix: str = ""  # what an operator can do
    final: bool = False
    foreseen: bool = True
    listed: dict[str, Any] = field(default_factory=dict)  # {"errors", "error_count"} where items are at fault

    def tries(self, most: int) -> int:
        """How often it is tried again; `most` is the setting."""
        return 0 if self.final else most if self.foreseen else min(UNEXPECTED, most)

    def error(self, failures: int = 0) -> dict[str, Any]:
        """A job's `error`, after so many attempts that failed."""
        given_up = f"; given up after {failures} attempts. {self.fix}, then send the job again" if failures else ""
        return {"code": self.code, "message": f"{self.message}{given_up}", "item": self.item} | self.listed


def of(error: Exception) -> Failure:
    """What an error means."""
    if isinstance(error, FINAL):
        return Failure(error.code, error.message, error.item, final=True, listed=listed(error))
    if isinstance(error, StorageFull) or (isinstance(error, OSError) and error.errno in FULL):
        return Failure(StorageFull.code, "there is no space left to store what the job makes", fix="Free some space")
    if isinstance(error, StorageError):
        message = "the artifact store did not answer"
        return Failure(error.code, message, fix="See that the workers can reach it and may write to it")
    if isinstance(error, sa.exc.SQLAlchemyError):
        message = "the database did not answer, or has no space left"
        return Failure("database_unavailable", message, fix="See that the workers can reach it and that it has space")
    fix = "See the worker's log"
    if isinstance(error, CorruptArtifact):  # somebody may mend it meanwhile
        fix = "Mend what is damaged; `espalier check` names all of it"
    if isinstance(error, EspalierError):
        return Failure(error.code, error.message, error.item, fix=fix, foreseen=False)
    return Failure("internal_error", "an unexpected error; the worker's log has it", fix=fix, foreseen=False)


def pause(failures: int) -> float:
    """Seconds before the next try after so many failures."""
    return float(min(FIRST * 2 ** min(failures, 30), LONGEST))


def brief(error: Exception) -> str:
    """One line of what an error says, for the log."""
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')[:300]}"
