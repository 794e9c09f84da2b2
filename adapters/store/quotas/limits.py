"""What a tenant and a key may have and ask: the settings' defaults, and what an operator has set instead."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import InvalidInput
from adapters.store import conflicts
from adapters.store.audit.recording import record
from adapters.store.database import reading
from adapters.store.quotas.tables import ALL, from_rows, in_rows, quotas
from adapters.store.schema import counters

VERSION = "quotas"  # of counters: raised by each change, so that a process that looks reads one row
DEFAULT, UNLIMITED = "default", "unlimited"
MOST_KEYS = 2000  # of a tenant with limits of their own


@dataclass(frozen=True, slots=True)
class Limits:
    """Most of each thing; None: no bound."""

    heads: float | None = None
    examples: float | None = None
    bytes: float | None = None  # of inputs that heads, unfinished jobs and samples hold, the same one counted once
    jobs: float | None = None  # that wait or run
    requests_per_second: float | None = None
    inputs_per_second: float | None = None

    def with_(self, found: Mapping[str, float | None]) -> "Limits":
        """These, but for what was found set."""
        return Limits(**{f.name: found.get(f.name, getattr(self, f.name)) for f in fields(Limits)})


NAMES = tuple(f.name for f in fields(Limits))
RATES = ("requests_per_second", "inputs_per_second")
SLOWEST = 0.001  # a second, of a rate that lets anything in
Overrides = dict[tuple[str, str], dict[str, float | None]]  # (tenant, key or ALL) → name → value; None: unlimited


@dataclass(frozen=True, slots=True)
class Book:
    """All limits in force."""

    default: Limits = field(default_factory=Limits)  # of each tenant
    overrides: Overrides = field(default_factory=dict)

    def of_tenant(self, tenant: str) -> Limits:
        """Those of all of a tenant's keys together."""
        return self.default.with_(self.overrides.get((tenant, ALL), {}))

    def of_key(self, tenant: str, key: str) -> Limits:
        """Those of one key, within its tenant's."""
        return Limits().with_(self.overrides.get((tenant, key), {})) if key else Limits()


def read(connection: sa.Connection, tenant: str | None = None) -> Overrides:
    """What operators have set, of all tenants or of one."""
    query = sa.select(quotas)
    if tenant is not None:
        query = query.where(quotas.c.tenant == tenant)
    found: Overrides = {}
    for row in connection.execute(query):
        if (name := from_rows(row.name)) in NAMES:  # else it is of a newer release
            found.setdefault((row.tenant, row.key), {})[name] = row.value
    return found


def version(connection: sa.Connection) -> int:
    """A number that has changed since it was last asked for if any limit has."""
    return int(connection.execute(sa.select(counters.c.value).where(counters.c.name == VERSION)).scalar() or 0)


def load(engine: Engine, default: Limits) -> Book:
    """The limits as they are now."""
    with reading(engine) as connection:
        return Book(default, read(connection))


def put(engine: Engine, tenant: str, key: str, values: Mapping[str, Any]) -> None:
    """Set limits: a number, "unlimited", or "default" for what the settings say. Raises InvalidInput.

    `key` is a key's id, or ALL for all of the tenant's together.
    """
    checked = {name: check(name, value) for name, value in values.items()}
    with engine.begin() as connection:
        _raise_version(connection)  # first: two that set the same limit take turns
        mine = (quotas.c.tenant == tenant, quotas.c.key == key, quotas.c.name.in_(map(in_rows, checked)))
        connection.execute(quotas.delete().where(*mine))
        rows = [
            {"tenant": tenant, "key": key, "name": in_rows(name), "value": value if isinstance(value, float) else None}
            for name, value in checked.items()
            if value != DEFAULT
        ]
        if rows:
            connection.execute(quotas.insert(), rows)
        _require_room(connection, tenant)
        record(connection, "quotas.set", tenant=tenant, key=key or None, **checked)


def inherit(connection: sa.Connection, tenant: str, old: str, new: str) -> None:
    """A key that takes the place of another has its limits."""
    there = read(connection, tenant).get((tenant, old))
    if there:
        _raise_version(connection)
        rows = [{"tenant": tenant, "key": new, "name": in_rows(name), "value": value} for name, value in there.items()]
        connection.execute(quotas.insert(), rows)


def _raise_version(connection: sa.Connection) -> None:
    raised = {"value": counters.c.value + 1}
    first = conflicts.insert(connection, counters).values(name=VERSION, value=1)
    connection.execute(first.on_conflict_do_update(index_elements=["name"], set_=raised))


def _require_room(connection: sa.Connection, tenant: str) -> None:
    """Every process has all limits in memory, and an administrator of a tenant may name keys as it likes."""
    query = sa.select(sa.func.count(quotas.c.key.distinct())).where(quotas.c.tenant == tenant, quotas.c.key != ALL)
    if connection.execute(query).scalar_one() > MOST_KEYS:
        words = f"a tenant has limits for {MOST_KEYS:,} keys at most; set those of keys that have ended to {DEFAULT}"
        raise InvalidInput(words, item="key")


def check(name: str, value: Any) -> float | str:
    """A limit as it is kept. Raises InvalidInput."""
    if name not in NAMES:
        raise InvalidInput(f"there is no quota {name[:50]!r}; there are: {', '.join(NAMES)}", item=name[:50])
    if value in (DEFAULT, UNLIMITED):
        return str(value)
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not 0 <= number <= 2**53:
        words = f"a number from 0 on, {UNLIMITED} or {DEFAULT}"
        raise InvalidInput(f"{name} must be {words}, not {str(value)[:50]!r}", item=name)
    if name in RATES and 0 < number < SLOWEST:
        raise InvalidInput(f"{name} must be 0, which lets nothing in, or at least {SLOWEST}", item=name)
    return number
