"""`espalier audit`: who has changed what; on the database of this machine, as its operator."""

import json
from datetime import datetime
from typing import Any

import click

from adapters.errors import InvalidInput
from service.cli.options import as_json, readable, show


@click.group()
def audit() -> None:
    """Export the audit log, or look whether it is as it was written."""


@audit.command("export")
@click.option("--since", type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]), help="Only rows from then on, UTC.")
@readable
def audit_export(since: datetime | None) -> None:
    """Write the log to standard output, a JSON object a line."""
    from adapters.store.audit import log
    from adapters.store.database import aware
    from service.cli.machine import parts

    moment = None if since is None else int(aware(since).timestamp() * 1000)
    for row in log.every(parts()[1], moment):
        click.echo(json.dumps(row))


@audit.command("verify")
@click.option("--expect", metavar="NUMBER:HASH", help="A row that was noted before.")
@as_json
@readable
def audit_verify(expect: str | None, raw: bool) -> None:
    """Go through the log's chain; exit code 1 where a row was changed or is gone."""
    from dataclasses import asdict

    from adapters.store.audit import log
    from service.cli.machine import parts

    found = log.verify(parts()[1], None if expect is None else _noted(expect))
    show(asdict(found), raw, _told)
    if found.problem is not None:
        raise SystemExit(1)


def _noted(text: str) -> tuple[int, str]:
    number, _, noted = text.partition(":")
    if not number.isdecimal() or len(noted) != 64:
        raise InvalidInput(f"{text[:100]!r} is not NUMBER:HASH, as `espalier audit verify` prints it", item="--expect")
    return int(number), noted


def _told(answer: dict[str, Any]) -> None:
    if answer["problem"] is not None:
        click.echo(f"not as it was written: {answer['problem']}")
    else:
        click.echo(
            f"{answer['rows']:,} rows are as they were written; the last is {answer['sequence']}:{answer['hash']}"
        )
