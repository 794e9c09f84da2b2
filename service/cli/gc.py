"""`espalier gc`: removes now what a worker would remove at its next sweep, or says what that is."""

from dataclasses import asdict
from typing import Any

import click

from service.cli.backup import stored
from service.cli.options import show


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@stored
def gc(dry_run: bool, raw: bool) -> None:
    """Remove what need not be kept: ended jobs (ESPALIER_KEEP_DAYS, ESPALIER_KEEP_JOBS), embeddings and blobs that
    nobody needs."""
    from adapters.store import compaction, database, retention
    from adapters.store.retention import Keep
    from adapters.store.scrub import garbage
    from service.operations import backups
    from service.settings import Settings

    settings = Settings()
    keep = Keep(settings.keep_days, settings.keep_jobs)
    with backups.opened(settings.database, settings.artifacts) as stores:
        database.require_newest(stores.engine)
        found = garbage.look(stores.engine, stores.artifacts, keep)
        left = found
        if not dry_run:
            retention.sweep(stores.engine, stores.artifacts, keep)
            left = garbage.look(stores.engine, stores.artifacts, keep)
    for path in () if dry_run else settings.sqlite_files:
        compaction.compact(path)
    show({"found": asdict(found), "left": asdict(left), "dry_run": dry_run}, raw, _told)


def _told(answer: dict[str, Any]) -> None:
    found, left = answer["found"], answer["left"]
    click.echo(f"{'to be removed' if answer['dry_run'] else 'removed'}: {_counted(found)}")
    if not answer["dry_run"] and any(left.values()):
        click.echo(f"left, as somebody holds it (a backup that is being made?) or it came meanwhile: {_counted(left)}")


def _counted(found: dict[str, int]) -> str:
    embeddings = f"{found['embeddings']:,} embeddings ({found['embedding_bytes'] / 2**20:,.1f} MiB)"
    return f"{found['jobs']:,} jobs, {embeddings}, {found['blobs']:,} blobs ({found['blob_bytes'] / 2**20:,.1f} MiB)"
