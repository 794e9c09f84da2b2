"""Whether rows agree with each other."""

from collections.abc import Iterator
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store import backbones
from adapters.store.database import reading
from adapters.store.objects import blobs
from adapters.store.schema import changes, embeddings, generation, heads, version_blobs, versions
from adapters.store.scrub.findings import Finding
from adapters.tenancy import shown
from adapters.types import Backbone

_BATCH = 500


def findings(engine: Engine) -> Iterator[Finding]:
    """What rows say that cannot be so."""
    if engine.dialect.name == "sqlite":
        yield from _dangling(engine)
    yield from _numbers(engine)
    yield from _untold(engine)
    yield from _without_backbone(engine)
    yield from _embeddings(engine)
    yield from _generation(engine)


def _dangling(engine: Engine) -> Iterator[Finding]:
    """Rows that refer to rows which are gone: SQLite lets a tool write them that does not ask for checks."""
    with reading(engine) as connection:
        rows = connection.exec_driver_sql("PRAGMA foreign_key_check").all()
    for table, parent in sorted({(row[0], row[2]) for row in rows}):
        numbers = [row[1] for row in rows if (row[0], row[2]) == (table, parent)]
        detail = f"{len(numbers)} of them refer to rows of {parent} that are not there"
        fix = "espalier check --repair deletes them: nothing can find them"
        yield Finding("inconsistent", f"rows of {table}", detail, fix, partial(_delete, engine, table, numbers))


def _delete(engine: Engine, table: str, numbers: list[int]) -> bool:
    rows = sa.table(table, sa.column("rowid"))
    with engine.begin() as connection:
        for start in range(0, len(numbers), _BATCH):
            connection.execute(sa.delete(rows).where(rows.c.rowid.in_(numbers[start : start + _BATCH])))
    return True


def _numbers(engine: Engine) -> Iterator[Finding]:
    """A number that was used must not be given out again."""
    newest = sa.select(versions.c.head, sa.func.max(versions.c.number).label("last")).group_by(versions.c.head)
    told = newest.subquery()
    query = sa.select(heads.c.name, told.c.last).join(told, told.c.head == heads.c.name)
    with reading(engine) as connection:
        rows = connection.execute(query.where(heads.c.next_version <= told.c.last)).all()
    for name, last in rows:
        detail = f"version {last} is there, and would be given out again"
        update = heads.update().where(heads.c.name == name).values(next_version=last + 1)
        yield Finding("inconsistent", f"the head {name}", detail, _REPAIRS, partial(_execute, engine, update))


def _untold(engine: Engine) -> Iterator[Finding]:
    """Versions whose blobs are not noted as in use: they would be deleted with somebody else's."""
    with reading(engine) as connection:
        rows = connection.execute(sa.select(versions).order_by(versions.c.head, versions.c.number)).all()
        noted = {tuple(row) for row in connection.execute(sa.select(version_blobs))}
    for row in rows:
        if any((row.head, row.number, digest) not in noted for digest in blobs.of_version(row.digest, row.manifest)):
            mend = partial(_tell, engine, row.head, row.number, row.digest, row.manifest)
            detail = "its blobs are not noted as in use"
            yield Finding("inconsistent", f"{row.head}@{row.number}", detail, _REPAIRS, mend)


def _tell(engine: Engine, head: str, number: int, digest: str, manifest: dict[str, object]) -> bool:
    with blobs.together(engine) as connection:
        blobs.keep_version(connection, head, number, digest, manifest)
    return True


def _without_backbone(engine: Engine) -> Iterator[Finding]:
    known = {backbone.digest for backbone in backbones.list_all(engine)}
    facts = versions.c.manifest["backbone"]
    query = sa.select(versions.c.head, versions.c.number, facts["name"].as_string(), facts["digest"].as_string())
    with reading(engine) as connection:
        rows = connection.execute(query.order_by(versions.c.head, versions.c.number)).all()
    for head, number, name, digest in rows:
        if digest not in known:
            detail = f"its backbone {name} ({digest[:12]}…) is not there, so it cannot answer"
            yield Finding("missing", f"{head}@{number}", detail, "add that backbone again: espalier backbones add")


def _embeddings(engine: Engine) -> Iterator[Finding]:
    """A cache: what is not as long as its backbone has it is made again when it is needed."""
    known = {backbone.digest: backbone for backbone in backbones.list_all(engine)}
    query = sa.select(embeddings.c.backbone, sa.func.length(embeddings.c.vector), sa.func.count())
    with reading(engine) as connection:
        rows = connection.execute(query.group_by(embeddings.c.backbone, sa.func.length(embeddings.c.vector))).all()
    for kept, size, count in rows:
        digest = shown(kept)  # without the tenant's name
        if not _fits(known.get(digest), size):
            where = (embeddings.c.backbone == kept, sa.func.length(embeddings.c.vector) == size)
            mend = partial(_execute, engine, embeddings.delete().where(*where))
            reason = "are not as long as it has them" if digest in known else "are of a backbone that is not there"
            detail = f"{count} cached embeddings {reason}"
            yield Finding("inconsistent", f"the backbone {digest[:12]}…", detail, _REPAIRS, mend)


def _fits(backbone: Backbone | None, size: int) -> bool:
    """With taps or without: those offered by an older release are the first part."""
    return backbone is not None and size in (4 * backbone.length, 4 * backbone.dimension)


def _generation(engine: Engine) -> Iterator[Finding]:
    with reading(engine) as connection:
        value = connection.execute(sa.select(generation.c.value)).scalar()
        last = connection.execute(sa.select(sa.func.max(changes.c.generation))).scalar() or 0
    if value is None or value < last:
        write = (
            generation.insert().values(id=1, value=last) if value is None else generation.update().values(value=last)
        )
        detail = f"it is {value}, and change {last} was made"
        yield Finding("inconsistent", "the generation", detail, _REPAIRS, partial(_execute, engine, write))


_REPAIRS = "espalier check --repair puts it right"


def _execute(engine: Engine, statement: sa.Executable) -> bool:
    with engine.begin() as connection:
        connection.execute(statement)
    return True
