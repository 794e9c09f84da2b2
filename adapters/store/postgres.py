"""Connections to Postgres that do not wait for ever: psycopg would, for a server that swallows packets.

No setting of libpq bounds the wait for an answer, and the server's own timeouts are of no use where it cannot be
reached; so each wait on the socket has a bound (`psycopg.Connection.wait`). A connection that was given up is closed.
"""

import time
from collections.abc import Generator
from typing import Any, ClassVar

import psycopg
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store import patience
from adapters.store.patience import Silence

NOT_IN_TIME = "the database did not answer in time"


class Patient(psycopg.Connection[Any]):
    """One connection. `seconds` and `silence` are set by `listen`, in a class for each engine."""

    seconds: ClassVar[float]
    silence: ClassVar[Silence]
    in_transaction = False  # and so known to answer

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """psycopg's, with a bound. Raises psycopg.OperationalError when it is reached."""
        if self.in_transaction:
            allowed = max(patience.STATEMENT * self.seconds, patience.LEAST_STATEMENT)
        else:
            self.silence.check()
            allowed = patience.left(self.seconds)
        until = time.monotonic() + allowed
        try:
            answer = super().wait(gen, *arguments, **options | {"timeout": allowed})
        except psycopg.OperationalError:
            if time.monotonic() < until:
                raise
            self.silence.fell()
            self.close()
            raise psycopg.OperationalError(NOT_IN_TIME) from None
        self.silence.broken()
        return answer

    @classmethod
    def _connect_gen(cls, *arguments: Any, **options: Any) -> Any:
        # libpq's own bound is a whole number of seconds, and at least two.
        cls.silence.check()
        return cls._bounded(super()._connect_gen(*arguments, **options))

    @classmethod
    def _bounded(cls, steps: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
        until = time.monotonic() + patience.left(cls.seconds)
        try:
            wanted = next(steps)
            while True:
                ready = yield wanted
                if time.monotonic() >= until:
                    cls.silence.fell()
                    raise psycopg.OperationalError(NOT_IN_TIME)
                wanted = steps.send(ready)
        except StopIteration as end:
            cls.silence.broken()
            return end.value

    def __del__(self, *_: Any) -> None:
        """Without psycopg's warning: one that was given up in the middle of an answer is nobody's to close.

        libpq ends it when its own object goes.
        """


class Bounded(psycopg.Connection[Any]):
    """A connection that nobody waits for longer than `SECONDS`, unless he says for how long: for `LISTEN`.

    Whoever follows the database by it would else follow it no more, where a pooler between the two keeps the connection
    and the server behind it is gone.
    """

    SECONDS: ClassVar[float] = 2.0

    def wait(self, gen: Any, *arguments: Any, **options: Any) -> Any:
        """psycopg's, with a bound. Raises psycopg.Error when it is reached."""
        return super().wait(gen, *arguments, **({"timeout": self.SECONDS} | options))


def listen(engine: Engine, seconds: float) -> None:
    """Have an engine make such connections, and ask the server to give up in time as well."""
    kind: Any = type("PatientConnection", (Patient,), {"seconds": seconds, "silence": Silence()})

    def connect(_dialect: Any, _record: Any, arguments: Any, options: Any) -> Any:
        return kind.connect(*arguments, **options)

    sa.event.listen(engine, "do_connect", connect)
    sa.event.listen(engine, "connect", lambda connection, _record: _tell_server(connection, seconds))
    sa.event.listen(engine, "begin", _begun)
    sa.event.listen(engine, "checkin", _returned)


def _tell_server(connection: Patient, seconds: float) -> None:
    """Bounds of the server's own: a lock that somebody else holds, a statement that nobody waits for any more."""
    statement = max(patience.STATEMENT * seconds, patience.LEAST_STATEMENT)
    settings = {"lock_timeout": seconds, "statement_timeout": statement}
    connection.execute("; ".join(f"SET {name} = {int(value * 1000)}" for name, value in settings.items()))
    connection.commit()


def _begun(connection: sa.Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    raw.in_transaction = True
    patience.answered()


def _returned(connection: Any, _record: Any) -> None:
    if connection is not None:  # else it was given up
        connection.in_transaction = False
