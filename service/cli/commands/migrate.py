"""`espalier migrate`: the tables of the database up to this release's, or back to an earlier one's."""

import time
from typing import TYPE_CHECKING

import click

from service.cli.options import readable

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

PAUSE = 1.0  # seconds between tries to reach the database


@click.command()
@click.option("--to", "revision", metavar="REVISION", help="Back to an earlier release's tables, once all are stopped.")
@click.option("--wait", default=60.0, show_default=True, help="Seconds to wait for a database that does not answer.")
@readable
def migrate(revision: str | None, wait: float) -> None:
    """Bring the tables of ESPALIER_HOME (or its URL) to this release's, which the release before can go on using.

    Every process does that when it starts; this is for a step of its own before. Safe to repeat, and beside others.
    """
    from adapters.store import database
    from service.cli.machine import refuse_damaged
    from service.settings import Settings

    settings = Settings()
    refuse_damaged(settings)
    engine = database.connect(settings.database)
    before = _when_it_answers(engine, wait)
    if revision is None:
        database.migrate(engine)
    else:
        database.downgrade(engine, revision)
    click.echo(f"tables: {before or 'none'} → {database.current_revision(engine)}")


def _when_it_answers(engine: "Engine", seconds: float) -> str | None:
    """The revision that is there. Raises NotReady where the database does not answer in so many seconds."""
    from adapters.errors import NotReady
    from adapters.store import database

    until = time.monotonic() + seconds
    while True:
        try:
            return database.current_revision(engine)
        except NotReady as error:
            if time.monotonic() > until:
                raise NotReady(f"the database did not answer in {seconds:g} seconds") from error
            time.sleep(PAUSE)
