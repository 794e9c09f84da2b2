"""The check that a job is within its tenant's and its key's quotas, for the transaction that accepts it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters import tenancy
from adapters.errors import InvalidInput, QuotaExceeded
from adapters.store.database import reading
from adapters.store.quotas import limits, usage
from adapters.store.quotas.limits import Book, Limits
from adapters.store.quotas.usage import Owner
from service import telemetry
from service.access import principal
from service.settings import Settings

ADDING = ("heads", "examples", "bytes", "jobs")  # what a job may add that brings examples
CHANGING = ("jobs",)  # and one that changes what there is


def default(settings: Settings) -> Limits:
    """Those of each tenant, as the settings have them; 0 there is no bound."""
    return Limits(
        heads=settings.tenant_heads or None, examples=settings.tenant_examples or None,
        bytes=settings.tenant_bytes or None, jobs=settings.tenant_jobs or None,
        requests_per_second=settings.tenant_requests_per_second or None,
        inputs_per_second=settings.tenant_inputs_per_second or None,
    )  # fmt: skip


def guard(settings: Settings, names: Sequence[str] = CHANGING) -> Callable[[sa.Connection, str], None]:
    """For `jobs.create`: raises QuotaExceeded where the present caller has too much with this job."""
    who = principal.current()

    def check(connection: sa.Connection, job_id: str) -> None:
        bounds = [(owner, most) for owner, most in _bounds(connection, settings, who) if _is_bounded(most, names)]
        if bounds:
            usage.take_turn(connection, who.tenant)
        for owner, most in bounds:
            with _counted():
                usage.require(connection, owner, most, job_id, names)

    return check


def check_jobs(settings: Settings, engine: Engine) -> None:
    """Before anything is read: whether one more job would be too many. Raises QuotaExceeded."""
    who = principal.current()
    with reading(engine) as connection:
        for owner, most in _bounds(connection, settings, who):
            if most.jobs is not None and (there := usage.used(connection, owner, "jobs")) >= most.jobs:
                with _counted():
                    raise usage.exceeded(owner, "jobs", int(most.jobs), there, 1)


def _bounds(connection: sa.Connection, settings: Settings, who: principal.Principal) -> list[tuple[Owner, Limits]]:
    book = Book(default(settings), limits.read(connection, who.tenant))
    mine = Owner(who.tenant), Owner(who.tenant, who.name)
    return [(mine[0], book.of_tenant(who.tenant)), (mine[1], book.of_key(who.tenant, who.name))]


def _is_bounded(most: Limits, names: Sequence[str]) -> bool:
    return any(getattr(most, name) is not None for name in names)


class _counted:
    """Counts what is refused inside."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, QuotaExceeded):
            telemetry.QUOTA_EXCEEDED.labels(error.quota).inc()


def put(engine: Engine, tenant: str, key: str, values: Mapping[str, Any]) -> None:
    """Set limits of a tenant or a key. Raises InvalidInput."""
    if not tenancy.is_tenant(tenant):
        raise InvalidInput(f"there can be no tenant {tenant[:50]!r}", item="tenant")
    if not values:
        raise InvalidInput(f"name a quota to set: {', '.join(limits.NAMES)}", item="limits")
    limits.put(engine, tenant, key, values)
