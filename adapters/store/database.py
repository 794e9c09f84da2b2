"""One engine for SQLite or Postgres; `migrate` brings its tables up to date."""

import contextlib
import sqlite3
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from adapters.errors import InvalidInput, NotReady
from adapters.store import patience
from adapters.store.audit import recording
from adapters.store.objects import folder
from adapters.store.quotas import tables as _quota_tables  # noqa: F401 (they belong to the schema as well)

LOCKS = {"shared": "pg_advisory_xact_lock_shared", "exclusive": "pg_advisory_xact_lock"}
MIGRATION, BLOBS = 4918273, 4918274  # numbers of locks in Postgres; any will do
POOL = {"pool_size": 5, "max_overflow": 25}  # more than threads that ask at once, so that none waits for another


def connect(url: str, seconds: float = patience.WORKER) -> Engine:
    """An engine for a SQLAlchemy URL: `sqlite:////path/espalier.sqlite` or `postgresql+psycopg://…`.

    Nobody waits longer than `seconds` for a connection that answers or for a lock (see `patience`): then SQLAlchemy's
    OperationalError or TimeoutError. What statements are given is in no error's text, and so in no log. On Postgres
    they raise InvalidInput for a NUL. Raises it for a URL with a password that is not escaped.
    """
    if not url.startswith("sqlite"):
        if "@" in (sa.make_url(url).host or ""):  # a part of the password, which drivers would tell as the host's name
            raise InvalidInput("the database's URL has a second @; in a password it is written as %40", item="database")
        return _connect_postgres(url, seconds)
    path = sa.make_url(url).database
    if path:
        folder.private(Path(path).parent)
    pool = POOL | {"pool_timeout": seconds} if path else {}
    engine = sa.create_engine(url, connect_args={"timeout": seconds}, hide_parameters=True, **pool)
    sa.event.listen(engine, "connect", _prepare_sqlite)
    sa.event.listen(engine, "begin", lambda connection: _begin(connection, seconds))
    sa.event.listen(engine, "begin", _check)
    recording.listen(engine, clock())
    return engine


def _connect_postgres(url: str, seconds: float) -> Engine:
    from adapters.store import postgres  # its driver is installed only where it is used

    engine = sa.create_engine(url, pool_pre_ping=True, hide_parameters=True, **POOL, pool_timeout=seconds)
    postgres.listen(engine, seconds)
    sa.event.listen(engine, "begin", _lock)
    sa.event.listen(engine, "begin", _check)
    sa.event.listen(engine, "handle_error", _refuse_nul)
    recording.listen(engine, clock())
    return engine


def _check(connection: sa.Connection) -> None:
    """What whoever has this engine wants to know at the beginning of each transaction that may write: inside of it.

    An option and no listener of theirs: those of an engine with options are called before those of the engine that it
    was made from, and so before `BEGIN`, or before a lock that everybody takes first.
    """
    options = connection.get_execution_options()
    if (check := options.get("check")) is not None and not options.get("read_only", False):
        check(connection)


def _lock(connection: sa.Connection) -> None:
    """The first statement of such a transaction: see `locked`."""
    kind = connection.get_execution_options().get("lock")
    if kind is not None:
        connection.exec_driver_sql(f"SELECT {LOCKS[kind]}({BLOBS})")


def _refuse_nul(context: sa.engine.ExceptionContext) -> None:
    """A name with a NUL in it is the caller's to mend: SQLite finds nothing by it, Postgres cannot even be asked."""
    if isinstance(context.sqlalchemy_exception, sa.exc.DataError) and "NUL" in str(context.original_exception):
        raise InvalidInput("a name or text has a NUL character in it; nothing here has") from None


def _prepare_sqlite(connection: sqlite3.Connection, _record: Any) -> None:
    # The driver would begin transactions late and deferred; two readers that then write would deadlock.
    connection.isolation_level = None
    if not connection.execute("PRAGMA page_count").fetchone()[0]:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")  # only before anything is written; else a writer's lock
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "secure_delete=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection, seconds: float) -> None:
    if connection.get_execution_options().get("read_only", False):
        connection.exec_driver_sql("BEGIN")
        return
    if (left := patience.left(seconds)) < seconds:  # a part of it went by before it was this one's turn
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(left * 1000)}")
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        patience.answered()
    finally:
        if left < seconds:
            connection.exec_driver_sql(f"PRAGMA busy_timeout = {int(seconds * 1000)}")


@contextlib.contextmanager
def reading(engine: Engine) -> Any:
    """A transaction that only reads: on SQLite it never waits for a writer."""
    with engine.connect().execution_options(read_only=True) as connection, connection.begin():
        yield connection


def unchecked(engine: Engine) -> Engine:
    """The same without what its owner wants to know first: for what needs no leave."""
    return engine.execution_options(check=None)


@contextlib.contextmanager
def locked(engine: Engine, kind: Literal["shared", "exclusive"]) -> Iterator[sa.Connection]:
    """A transaction that writes; beside an exclusive one there is no other of these. SQLite has one writer anyway."""
    with engine.connect().execution_options(lock=kind) as connection, connection.begin():
        yield connection


class Changes:
    """Tells whether anybody has written since it was last asked; where that is not free to know, always yes."""

    def __init__(self, engine: Engine) -> None:
        path = engine.url.database if engine.dialect.name == "sqlite" else None
        self._connection = sqlite3.connect(path, check_same_thread=False) if path else None
        self._seen = -1

    def any(self) -> bool:
        """Look once: microseconds on SQLite, whose other connections raise a number when they commit."""
        if self._connection is None:
            return True
        before, self._seen = self._seen, self._connection.execute("PRAGMA data_version").fetchone()[0]
        return before != self._seen

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()


def migrate(engine: Engine) -> None:
    """Bring the schema to this release's. Safe to call from several processes at once.

    A newer release's tables are left as they are, where that release says that this one may use them (docs/adr/0023).
    Raises NotReady where it does not.
    """
    if current_revision(engine) == newest_revision():
        return
    with _migrating(engine) as (connection, config):
        if not _is_newer(connection):
            _alembic().upgrade(config, "head")


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the schema back to an earlier release's, all of whose rows are kept; nothing newer may run meanwhile.

    Raises InvalidInput for a revision that this release does not know, NotReady where the tables are newer than that.
    """
    if revision not in known_revisions():
        known = ", ".join(known_revisions())
        raise InvalidInput(
            f"there is no revision {revision[:100]!r} of the tables; there are {known}", item=revision[:100]
        )
    with _migrating(engine) as (connection, config):
        if (there := _revision(connection)) not in known_revisions():
            raise NotReady(f"the tables are those of a newer release ({there}): use its own `espalier migrate --to`")
        _alembic().downgrade(config, revision)


def _alembic() -> Any:
    """Alembic's commands, which a process that finds its tables there does not pay for."""
    from alembic import command

    return command


@contextlib.contextmanager
def _migrating(engine: Engine) -> Iterator[tuple[sa.Connection, Any]]:
    """A transaction in which nobody else migrates, and Alembic's configuration for it."""
    config = _alembic_config()
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # one migrates, the others wait
            connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({MIGRATION})"))
        config.attributes["connection"] = connection
        yield connection, config


def is_usable(engine: Engine) -> bool:
    """Whether the tables are this release's, or a newer one's that it may use. Raises NotReady if it may not."""
    if current_revision(engine) == newest_revision():
        return True
    with reading(engine) as connection:
        return _is_newer(connection)


def _is_newer(connection: sa.Connection) -> bool:
    """Raises NotReady where the tables are newer and this release cannot use them any more."""
    there = _revision(connection)
    if there is None or there in known_revisions():
        return False
    oldest = connection.execute(sa.text("SELECT oldest FROM compatibility")).scalar()
    if oldest is None or str(oldest) > newest_revision():
        raise NotReady(f"the tables are those of a newer release ({there}), which this one cannot use: run that one")
    return True


def require_newest(engine: Engine) -> None:
    """Raises NotReady where the tables are not this release's, or there are none."""
    there, wanted = current_revision(engine), newest_revision()
    if there != wanted:
        what = "there are no tables yet" if there is None else f"the tables are those of another release ({there})"
        raise NotReady(f"{what}; `espalier init` of this release brings them up to date")


def _alembic_config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(resources.files("adapters.store") / "migrations"))
    return config


def known_revisions() -> list[str]:
    """The revisions that this release knows, the oldest first: its migration files by name."""
    files = (resources.files("adapters.store") / "migrations" / "versions").iterdir()
    return sorted(f.name.removesuffix(".py") for f in files if f.name.endswith(".py") and f.name[0].isdigit())


def newest_revision() -> str:
    """The revision that this release makes."""
    return known_revisions()[-1]


def current_revision(engine: Engine) -> str | None:
    """The revision the database has; None for an empty one."""
    try:
        with reading(engine) as connection:
            return _revision(connection)
    except OperationalError as error:
        raise NotReady("the database does not answer; it is asked again") from error


def _revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()


class clock(FunctionElement[float]):
    """In SQL: the database's clock, seconds since 1970. Hosts may disagree about the time, and it may jump on each."""

    type = sa.Double()
    inherit_cache = True


@compiles(clock, "sqlite")
def _sqlite_clock(*_: Any, **__: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(clock, "postgresql")
def _postgres_clock(*_: Any, **__: Any) -> str:
    return "extract(epoch FROM clock_timestamp())::double precision"  # now() would be the transaction's beginning


def now() -> datetime:
    """The present moment by this host's clock, UTC: for people to read, never to order or to decide by."""
    return datetime.now(UTC)


def aware(moment: datetime) -> datetime:
    """SQLite forgets time zones; all of ours are UTC."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
