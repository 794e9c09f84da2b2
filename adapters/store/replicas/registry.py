"""Serving processes that live, and which state of the heads each of them serves.

Each tells every few seconds, and at once when what it serves has changed, by the database's clock. Who was not heard of
for `GONE` seconds is forgotten: it has died, hangs, or does not reach the database. No row says where a process runs.
"""

from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.store.database import clock, reading
from adapters.store.schema import generation as generations
from adapters.store.schema import replicas

BEAT = 2.5  # seconds between words of one that lives
GONE = 10.0  # seconds without a word after which it is forgotten
MOST_BEHIND = 1000  # heads that it names; beyond, it counts as behind with all


@dataclass(frozen=True, slots=True)
class Replica:
    """One that lives."""

    id: str
    release: str
    generation: int  # of the heads, that it serves …
    behind: tuple[str, ...]  # … but of these, whose newest version it could not load; ("*",): of any
    known_for: float  # seconds
    silent_for: float  # seconds

    def serves(self, head: str, generation: int) -> bool:
        """Whether it answers for a head with that state or a later one."""
        return self.generation >= generation and not {head, "*"} & set(self.behind)


@dataclass(frozen=True, slots=True)
class Serving:
    """How many of those that live answer with some state."""

    living: int
    serving: int

    @property
    def all(self) -> bool:
        """Every one of them."""
        return self.serving >= self.living


def tell(engine: Engine, replica: str, release: str, generation: int, behind: Collection[str]) -> None:
    """A word of one that lives; those of which there was none for long are forgotten."""
    named = sorted(behind) if len(behind) <= MOST_BEHIND else ["*"]
    said = {"release": release, "generation": generation, "behind": named, "seen_at": clock()}
    with engine.begin() as connection:
        if connection.execute(replicas.update().where(replicas.c.id == replica).values(**said)).rowcount == 0:
            connection.execute(replicas.insert().values(id=replica, started_at=clock(), **said))
        connection.execute(replicas.delete().where(~_lives()))


def leave(engine: Engine, replica: str) -> None:
    """One that ends in order is waited for no more."""
    with engine.begin() as connection:
        connection.execute(replicas.delete().where(replicas.c.id == replica))


def living(engine: Engine) -> list[Replica]:
    """Those that live, the eldest first."""
    since = [(clock() - replicas.c[name]).label(name) for name in ("started_at", "seen_at")]
    facts = [replicas.c[name] for name in ("id", "release", "generation", "behind")]
    query = sa.select(*facts, *since).where(_lives()).order_by(replicas.c.started_at, replicas.c.id)
    with reading(engine) as connection:
        rows = connection.execute(query).all()
    return [Replica(i, r, g, tuple(b), max(0.0, known), max(0.0, silent)) for i, r, g, b, known, silent in rows]


def serving(engine: Engine, head: str, generation: int) -> Serving:
    """How many answer for a head with that state or a later one."""
    found = living(engine)
    return Serving(len(found), sum(one.serves(head, generation) for one in found))


def count(engine: Engine) -> tuple[int, int]:
    """(those that live, those of them that serve an older state of the heads than the newest)."""
    newest = sa.select(generations.c.value).scalar_subquery()
    behind = sa.func.sum(sa.case((replicas.c.generation < newest, 1), else_=0))
    with reading(engine) as connection:
        there, late = connection.execute(sa.select(sa.func.count(), behind).where(_lives())).one()
    return int(there), int(late or 0)


def _lives() -> sa.ColumnElement[bool]:
    """One that was heard of in the future was so before the clock was set back, nobody knows when."""
    return sa.and_(replicas.c.seen_at > clock() - GONE, replicas.c.seen_at < clock() + GONE)
