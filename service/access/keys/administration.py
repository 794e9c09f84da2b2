"""Making, rotating and ending keys: for the command line, which works on the database, and for `/keys`."""

from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy.engine import Engine

from adapters import tenancy
from adapters.errors import InvalidInput
from adapters.store.access import keys
from adapters.store.access.keys import Key
from adapters.store.database import now
from service.access.keys import minting
from service.access.principal import checked_scopes

MOST_NAME = 200  # characters
MOST_DAYS = 3650.0
OVERLAP = 3600.0  # seconds that the old key is good beside the one in its place
MOST_OVERLAP = 30 * 86400.0


def create(
    engine: Engine, pepper: bytes, *, tenant: str, name: str, scopes: list[str], days: float | None
) -> tuple[Key, str]:
    """A new key, and its text, which is kept nowhere. Raises InvalidInput."""
    if not tenancy.is_tenant(tenant):
        rule = f"a–z, 0–9 and hyphens between them, {tenancy.MOST} at most"
        raise InvalidInput(f"a tenant cannot be called {tenant[:100]!r}: {rule}", item="tenant")
    if not 1 <= len(name.strip()) <= MOST_NAME or not name.isprintable():
        raise InvalidInput(f"a key needs a name of 1 to {MOST_NAME} characters on one line", item="name")
    if days is not None and not 0 < days <= MOST_DAYS:
        raise InvalidInput(f"a key is good for up to {MOST_DAYS:.0f} days, or without end", item="expires_in_days")
    given = checked_scopes(scopes, tenant)
    end = now() + timedelta(days=days) if days is not None else None
    key_id, text = minting.mint()
    kept = Key(key_id, tenant, name.strip(), minting.digest(text, pepper), given, now(), end)
    return keys.add(engine, kept), text


def rotate(engine: Engine, pepper: bytes, old: Key, overlap: float = OVERLAP) -> tuple[Key, str]:
    """Another key in the place of one, which is good for `overlap` seconds more. Raises InvalidInput, Conflict."""
    if not 0 <= overlap <= MOST_OVERLAP:
        raise InvalidInput(f"keys overlap for 0 to {MOST_OVERLAP:.0f} seconds", item="overlap_seconds")
    key_id, text = minting.mint()
    made = now()
    kept = replace(
        old, id=key_id, digest=minting.digest(text, pepper), created_at=made,
        expires_at=_end(_last(engine, old), made),
        last_used_at=None, replaces=old.id,
    )  # fmt: skip
    return keys.replace(engine, old, kept, timedelta(seconds=overlap)), text


def _last(engine: Engine, key: Key) -> Key:
    """What stands at the end of a row of rotations, revoked or not: its end alone is not that of an overlap."""
    while (following := keys.in_place_of(engine, key.id)) is not None:
        key = following
    return key


def _end(old: Key, made: datetime) -> datetime | None:
    """As long after its making as the old one's was."""
    return made + (old.expires_at - old.created_at) if old.expires_at is not None else None
