"""Whether the audit log is as it was written. Nothing mends it: what is missing was taken away by somebody."""

from collections.abc import Iterator

from sqlalchemy.engine import Engine

from adapters.store.audit import log
from adapters.store.scrub.findings import Finding


def findings(engine: Engine) -> Iterator[Finding]:
    """One at most."""
    problem = log.verify(engine).problem
    if problem is not None:
        fix = "compare it with an export or a backup; somebody has changed it in the database"
        yield Finding("damaged", "the audit log", problem, fix)
