"""`espalier gc`: removes now what a worker would remove at its next sweep, or says what that is."""

from dataclasses import asdict
from typing import Any

import click

from service.cli.commands.backup import stored
from service.cli.options import show


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be removed, and remove nothing.")
@stored
def gc(dry_run: bool, raw: bool) -> None:
    """Remove what need not be kept: ended jobs (ESPALIER_KEEP_DAYS, ESPALIER_KEEP_JOBS), samples whose days are over,
    embeddings and blobs that nobody needs, rows of the audit log and counts of answers that are too old
    (ESPALIER_AUDIT_DAYS, ESPALIER_DRIFT_DAYS)."""
    from adapters.store import database
    from adapters.store.audit import log
    from adapters.store.drift import windows
    from adapters.store.scrub import garbage
    from adapters.store.scrub.garbage import Ages
    from adapters.store.upkeep import compaction, retention
    from adapters.store.upkeep.retention import Keep
    from service.operations import backups
    from service.settings import Settings

    settings = Settings()
    keep, ages = Keep(settings.keep_days, settings.keep_jobs), Ages(settings.audit_days, settings.drift_days)
    with backups.opened(settings.database, settings.artifacts) as stores:
        database.require_newest(stores.engine)
        found = garbage.look(stores.engine, stores.artifacts, keep, ages)
        left = found
        if not dry_run:
            retention.sweep(stores.engine, stores.artifacts, keep)
            log.prune(stores.engine, ages.audit_days)
            windows.forget(stores.engine, ages.drift_days)
            left = garbage.look(stores.engine, stores.artifacts, keep, ages)
    for path in () if dry_run else settings.sqlite_files:
        compaction.compact(path)
    show({"found": asdict(found), "left": asdict(left), "dry_run": dry_run}, raw, _told)


def _told(answer: dict[str, Any]) -> None:
    found, left = answer["found"], answer["left"]
    click.echo(f"{'to be removed' if answer['dry_run'] else 'removed'}: {_counted(found)}")
    if left["held_blobs"]:
        click.echo(f"{left['held_blobs']:,} more blobs go once the backup is made that somebody is making")
    if not answer["dry_run"] and any(count for name, count in left.items() if name != "held_blobs"):
        click.echo(f"left, as it came meanwhile: {_counted(left)}")


def _counted(found: dict[str, int]) -> str:
    embeddings = f"{found['embeddings']:,} embeddings ({found['embedding_bytes'] / 2**20:,.1f} MiB)"
    blobs = f"{found['blobs']:,} blobs ({found['blob_bytes'] / 2**20:,.1f} MiB)"
    rows = f"{found['audit_rows']:,} rows of the audit log, {found['answer_windows']:,} counts of answers"
    return f"{found['jobs']:,} jobs, {found['samples']:,} samples, {embeddings}, {blobs}, {rows}"
