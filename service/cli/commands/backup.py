"""`espalier backup`, `restore` and `move`: copies of an installation, beside a running service or without one."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import click

from service.cli.options import Command, as_json, readable, show

HEADS = 20  # whose answers are kept in a backup


def stored(command: Command) -> Command:
    """Errors of disks and databases as a sentence, too."""

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> Any:
        import sqlite3

        from sqlalchemy.exc import SQLAlchemyError

        before = signal.signal(signal.SIGTERM, _end_in_order)
        try:
            return command(*arguments, **options)
        except (SQLAlchemyError, sqlite3.Error) as error:
            reason = str(getattr(error, "orig", None) or error).strip().partition("\n")[0][:300]
            raise click.ClickException(f"the database does not do that: {reason}") from None
        except OSError as error:
            raise click.ClickException(f"{error.filename or 'the disk'}: {error.strerror or error}") from None
        finally:
            signal.signal(signal.SIGTERM, before)

    decorated: Command = as_json(readable(run))
    return decorated


def _end_in_order(number: int, _frame: object) -> None:
    """As Ctrl-C does: what is half done is taken away, and what was held let go."""
    raise SystemExit(128 + number)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--without-embeddings", is_flag=True, help="Leave out cached embeddings; jobs make them again.")
@click.option("--skip-damaged", is_flag=True, help="Leave out blobs that are damaged or missing, and list them.")
@click.option(
    "--answers", type=click.IntRange(0), default=HEADS, show_default=True, help="Heads whose answers are kept in it."
)
@stored
def backup(path: Path, without_embeddings: bool, skip_damaged: bool, answers: int, raw: bool) -> None:
    """Write everything to PATH, a new folder or .tar file, as it is at this moment; a running service goes on."""
    from service.operations import backups
    from service.settings import Settings

    with _progress("blobs copied", raw) as tell:
        facts = backups.back_up(
            Settings(), path, tell, cache=not without_embeddings, lenient=skip_damaged, heads=answers
        )
    show(facts, raw, _made)
    if facts["lost"]:
        raise SystemExit(1)


@click.command()
@click.argument("path", type=click.Path(exists=True, path_type=Path))
@click.option("--verify/--no-verify", default=True, help="Compare rows, blobs and answers afterwards (default).")
@click.option("--dry-run", is_flag=True, help="Read all of the backup and write nothing.")
@stored
def restore(path: Path, verify: bool, dry_run: bool, raw: bool) -> None:
    """Fill an empty ESPALIER_HOME (or its URLs) from the backup in PATH. Exit code 1 where it is not the same."""
    from service.operations import backups
    from service.settings import Settings

    with _progress("blobs copied", raw) as tell:
        facts = backups.look(path) if dry_run else backups.restore(Settings(), path, tell, verify)
    show(facts, raw, _look if dry_run else _restored)
    _end(facts)


@click.command()
@click.option("--to-database", required=True, envvar="ESPALIER_TO_DATABASE_URL", help="SQLAlchemy URL of an empty one.")
@click.option("--to-artifacts", required=True, envvar="ESPALIER_TO_ARTIFACTS_URL", help="Empty folder or bucket.")
@stored
def move(to_database: str, to_artifacts: str, raw: bool) -> None:
    """Copy the installation into another database and store, and compare all of it. Stop what uses it before."""
    from service.operations import backups
    from service.settings import Settings

    with _progress("blobs copied", raw) as tell:
        facts = backups.move(Settings(), to_database, to_artifacts, tell)
    show(facts, raw, _moved)
    _end(facts)


@contextmanager
def _progress(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """On a terminal, a line that says how far it is."""
    shown = not quiet and sys.stderr.isatty()

    def tell(done: int, total: int) -> None:
        if shown:
            click.echo(f"\r{done:,} of {total:,} {what}", nl=done == total, err=True)

    yield tell


def _end(facts: dict[str, Any]) -> None:
    if facts["differences"]:
        raise SystemExit(1)


def _made(facts: dict[str, Any]) -> None:
    _contents(f"{facts['path']}:", facts)
    click.echo(f"SHA-256 of its manifest: {facts['manifest_sha256']}")


def _look(facts: dict[str, Any]) -> None:
    _contents(f"made by release {facts['release']} at {facts['created_at']}:", facts)
    _compared(facts, "everything in it is as it was written")


def _restored(facts: dict[str, Any]) -> None:
    _contents("restored", facts)
    if facts["verified"]:
        _compared(facts, f"rows, blobs and {facts['answers']} answers are the same as in the backup")


def _moved(facts: dict[str, Any]) -> None:
    _contents("copied", facts)
    _compared(
        facts, "rows, blobs and answers are the same in both; set ESPALIER_DATABASE_URL and ESPALIER_ARTIFACTS_URL"
    )


def _contents(begin: str, facts: dict[str, Any]) -> None:
    rows = facts["tables"]
    kept = ", ".join(f"{rows[name]:,} {name}" for name in ("heads", "versions", "examples", "jobs"))
    size = f" ({facts['blobs']['bytes'] / 2**20:,.1f} MiB)" if "bytes" in facts["blobs"] else ""
    click.echo(f"{begin} {kept}, {facts['blobs']['count']:,} blobs{size}")
    for digest in facts.get("lost", []):
        click.echo(f"  not in it, being damaged or missing: the blob {digest}; espalier check says whose it is")


def _compared(facts: dict[str, Any], same: str) -> None:
    click.echo("\n".join(facts["differences"]) or same)
