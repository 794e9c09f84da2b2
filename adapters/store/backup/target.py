"""An installation that is filled from a copy: whole, or not at all."""

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import Conflict
from adapters.pools import Pool
from adapters.store import database
from adapters.store.backup import snapshot, tables, transfer
from adapters.store.backup.transfer import Tell
from adapters.store.objects.artifacts import WRITERS, Artifacts

# By migrations and `espalier init`, before it is of use: rows of these are replaced.
MADE_BY_ITSELF = ("audit_chain_end", "backbones", "capabilities", "counters", "generation")


def fill(rows: Engine, source: Artifacts, target: Engine, artifacts: Artifacts, digests: set[str], tell: Tell) -> None:
    """Blobs first, all rows after them in one transaction: whoever is killed leaves an installation that is empty.

    Raises Conflict where there is something in it, CorruptArtifact for a blob of the source, StorageError,
    StorageFull.
    """
    database.migrate(target)
    with database.reading(target) as connection:
        _refuse_filled(connection)
    transfer.copy(source, artifacts, digests, tell)
    with snapshot.frozen(rows) as there, target.begin() as here:
        if target.dialect.name == "postgresql":  # of two who restore at a time one finds that the other has
            here.execute(sa.text(f"SELECT pg_advisory_xact_lock({database.MIGRATION})"))
        _refuse_filled(here)
        tables.copy(there, here, lambda: None)


def differences(rows: Engine, target: Engine, artifacts: Artifacts, digests: set[str]) -> list[str]:
    """Sentences on what of a copy is not as it was: tables, and blobs, each of which is read again."""
    with snapshot.frozen(rows) as there, snapshot.frozen(target) as here:
        wanted, found = tables.contents(there), tables.contents(here)
    other = [f"the table {name} has other rows" for name in wanted if wanted[name] != found[name]]
    ordered = sorted(digests)
    with Pool(WRITERS) as pool:
        pairs = zip(ordered, pool.map(artifacts.is_sound, ordered), strict=True)
        return other + [f"the blob {digest} is damaged or missing" for digest, sound in pairs if not sound]


def _refuse_filled(connection: sa.Connection) -> None:
    found = tables.filled(connection, MADE_BY_ITSELF)
    if found:
        told = ", ".join(f"{count} rows in {name}" for name, count in sorted(found.items())[:5])
        raise Conflict(f"there is an installation already ({told}); name an empty database and store for this one")
