"""`espalier init`, `serve` and `worker`: the processes of this machine."""

import gc
import logging
import os
import signal
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import click

from service import __version__
from service.cli.options import readable

if TYPE_CHECKING:
    from sqlalchemy.engine import Engine

    from adapters.store.objects.artifacts import Artifacts
    from service.settings import Settings


@click.command()
@readable
def init() -> None:
    """Make ESPALIER_HOME usable: tables, the embedded backbone, the list of methods. `serve` does it when needed."""
    from service.operations import logs
    from service.processes import setup
    from service.settings import unknown

    settings, engine, artifacts = parts()
    logs.configure(settings.log_level, settings.log_format, unknown(os.environ))
    setup.prepare(settings, engine, artifacts)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=3000, show_default=True)
@click.option("--insecure", is_flag=True, help="Listen there although nobody needs a key.")
@readable
def serve(host: str, port: int, insecure: bool) -> None:
    """Run the service and a training worker, and restart either when it dies. Ctrl-C ends both."""
    from adapters.runtime.onnx import devices
    from service.access import authenticator, exposure
    from service.operations import logs, tracing
    from service.processes import setup, supervisor
    from service.settings import unknown

    if insecure:
        os.environ["ESPALIER_INSECURE"] = "true"  # for the processes that it starts, too
    settings, engine, _ = parts()
    logs.configure(settings.log_level, settings.log_format, unknown(os.environ))
    exposure.refuse(host, settings)
    authenticator.check(settings)  # else each process that is started would say what is wrong with it, for ever
    devices.resolve(settings.device)  # else each process that is started would say that it is not there, for ever
    if settings.tracing:
        tracing.require()
    if not setup.is_done(settings, engine):
        made = subprocess.run([sys.executable, "-m", "service.cli", "init"])  # which says what is wrong
        if made.returncode:
            raise SystemExit(made.returncode)
    engine.dispose()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _announce(
        f"Espalier {__version__}: http://{host}:{port} (API at /docs), data in {settings.home.absolute()}", settings
    )
    grace = supervisor.GRACE + settings.drain_seconds
    commands = supervisor.commands(host, port).items()
    children = [supervisor.Child(name, command, grace=grace) for name, command in commands]
    supervisor.run(children, stop, settings.hang_seconds)


def _announce(text: str, settings: "Settings") -> None:
    """For people a line by itself; programs read the log."""
    if settings.log_format == "json":
        logging.getLogger("espalier.supervisor").info(text)
    else:
        click.echo(text)


@click.command()
@readable
def worker() -> None:
    """Run a training worker: as many as you like on Postgres, one on SQLite."""
    from adapters import malloc
    from adapters.runtime.onnx import processor

    malloc.share_arenas()
    # Before torch loads its OpenMP, whose idle threads spin: beside a busy server one race took 28 s, with one thread
    # 1.6. So torch gets half of the cores, of the container where that may use fewer; the other half is the server's.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, processor.cores() // 2)))
    gc.disable()  # imports make many objects and leave none: a fifth of their time would be looks for garbage
    from service.processes import worker as process
    from service.settings import Settings

    gc.freeze()
    gc.enable()
    settings = Settings()
    refuse_damaged(settings)  # else it would take the damage for a database that is away, and try again for ever
    process.main(settings)


def refuse_damaged(settings: "Settings") -> None:
    """A quick look at what is in SQLite's files. Raises DatabaseDamaged."""
    from adapters.store.scrub import sqlite

    for path in settings.sqlite_files:
        sqlite.refuse_damaged(path)


def parts() -> "tuple[Settings, Engine, Artifacts]":
    """Settings, database and artifact store of this machine, with the tables in place. Raises DatabaseDamaged."""
    from adapters.store import database
    from adapters.store.audit import actor
    from adapters.store.objects.artifacts import Artifacts
    from service.settings import Settings

    settings = Settings()
    refuse_damaged(settings)
    actor.be(actor.Actor(principal=actor.OPERATOR, address="local"))
    engine = database.connect(settings.database)
    database.migrate(engine)
    return settings, engine, Artifacts(settings.artifacts)
