"""`espalier check`: looks at everything that is stored, beside a running service or without one."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from service.cli.options import as_json, readable, show

if TYPE_CHECKING:
    from adapters.store.scrub import Finding
    from service.settings import Settings


@click.command()
@click.option("--repair", is_flag=True, help="Mend what can be mended without loss, and delete what nothing refers to.")
@as_json
@readable
def check(repair: bool, raw: bool) -> None:
    """Look at every row and blob of ESPALIER_HOME (or its URLs): damage, losses, leftovers. Exit code 1 where any is
    left."""
    from service.settings import Settings

    found = []
    for finding in findings(Settings()):
        found.append(_told(finding, repair))
        if not raw:
            _print(found[-1])
    left = sum(not row["mended"] for row in found)
    show({"findings": found, "left": left}, raw, _summary)
    if left:
        raise SystemExit(1)


def findings(settings: "Settings") -> "Iterator[Finding]":
    """All that is wrong, files first: what a damaged database says of blobs is worth nothing until it is mended."""
    from adapters.store.scrub import sqlite
    from service.loading import mapped_graphs

    broken = False
    for path in settings.sqlite_files:
        for finding in sqlite.findings(path):
            yield finding
            broken = broken or bool(list(sqlite.findings(path)))
    if not broken:
        yield from _of_store(settings)
    for folder in mapped_graphs(settings).damaged():
        yield _of_mapped(folder)


def _of_store(settings: "Settings") -> "Iterator[Finding]":
    from functools import partial

    from adapters.store import database
    from adapters.store.objects.artifacts import Artifacts
    from adapters.store.scrub import audit, rows, stored
    from service.processes import setup

    engine, artifacts = database.connect(settings.database), Artifacts(settings.artifacts)
    database.require_newest(engine)
    yield from rows.findings(engine)
    yield from audit.findings(engine)
    remake, derive = partial(setup.remake, settings, engine, artifacts), partial(setup.derive, engine, artifacts)
    yield from stored.findings(engine, artifacts, remake, derive)
    engine.dispose()


def _of_mapped(folder: Any) -> "Finding":
    import shutil

    from adapters.store.scrub import Finding

    def mend() -> bool:
        shutil.rmtree(folder)
        return True

    detail = "files that are not as they were written; processes that start make them again"
    return Finding("damaged", f"the mapped weights of {folder.name[:12]}…", detail, "espalier check --repair", mend)


def _told(finding: "Finding", repair: bool) -> dict[str, Any]:
    mended = bool(repair and finding.mend is not None and finding.mend())
    facts = {"kind": finding.kind, "item": finding.item, "detail": finding.detail, "fix": finding.fix}
    return facts | {"mended": mended}


def _print(row: dict[str, Any]) -> None:
    click.echo(f"{row['kind']}: {row['item']}: {row['detail']}")
    click.echo("  mended" if row["mended"] else f"  to mend it: {row['fix']}")


def _summary(answer: dict[str, Any]) -> None:
    found = answer["findings"]
    click.echo(
        f"{len(found)} found, {len(found) - answer['left']} mended" if found else "everything is as it was stored"
    )
