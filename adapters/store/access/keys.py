"""API keys as they are kept: an id, a keyed hash of the secret, and what it may. A row is never deleted here, since
"there are keys" must not become false when the last one is revoked.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from adapters.errors import Conflict, KeyNotFound, QuotaExceeded
from adapters.store.audit.recording import record
from adapters.store.database import aware, now, reading
from adapters.store.quotas import limits
from adapters.store.schema import api_keys

MOST = 10_000  # good keys of a tenant
Stamp = tuple[int, int]  # (keys, changes of keys): differs after every change, whoever commits when


@dataclass(frozen=True, slots=True)
class Key:
    """One API key. Moments are UTC."""

    id: str
    tenant: str
    name: str  # for people
    digest: str  # keyed hash of the whole key, hexadecimal
    scopes: tuple[str, ...]
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None  # to about a minute
    replaces: str | None = None  # the key that was rotated into this one

    def is_good(self, moment: datetime) -> bool:
        """Whether it opens anything at a moment."""
        return self.revoked_at is None and (self.expires_at is None or moment < self.expires_at)


def add(engine: Engine, key: Key) -> Key:
    """Keep a new key. Raises QuotaExceeded where its tenant has as many as there may be."""
    with engine.begin() as connection:
        connection.execute(api_keys.insert().values(**row(key)))
        _require_room(connection, key.tenant)
        record(connection, "key.create", tenant=key.tenant, key=key.id, scopes=list(key.scopes))
    return key


def find(engine: Engine, key_id: str, tenant: str | None = None) -> Key:
    """A key by its id, and of one tenant unless that is None. Raises KeyNotFound."""
    with reading(engine) as connection:
        row = connection.execute(_of(tenant).where(api_keys.c.id == key_id)).mappings().first()
    if row is None:
        raise KeyNotFound(f"no key has the id {key_id[:40]!r}; GET /keys lists them", item=key_id[:40])
    return _key(row)


def page(engine: Engine, tenant: str | None = None, *, limit: int, after: str = "") -> list[Key]:
    """So many keys of a tenant, or of all, the oldest first, from behind the one with the id `after`. Raises
    KeyNotFound where there is none.
    """
    query = _of(tenant).order_by(api_keys.c.created_at, api_keys.c.id).limit(limit)
    if after:
        last = find(engine, after, tenant)
        query = query.where(sa.tuple_(api_keys.c.created_at, api_keys.c.id) > (last.created_at, last.id))
    with reading(engine) as connection:
        return [_key(row) for row in connection.execute(query).mappings()]


def every(engine: Engine, tenant: str | None = None, limit: int = 1000) -> Iterator[Key]:
    """All of them, page by page."""
    after: str | None = ""
    while after is not None:
        found = page(engine, tenant, limit=limit, after=after)
        yield from found
        after = found[-1].id if len(found) == limit else None


def list_all(engine: Engine, tenant: str | None = None, only_good: bool = False) -> list[Key]:
    """The keys of a tenant, or of all, the oldest first; or those of them that open something."""
    query = _of(tenant).order_by(api_keys.c.created_at, api_keys.c.id)
    with reading(engine) as connection:
        rows = connection.execute(query.where(_good()) if only_good else query).mappings()
        return [_key(row) for row in rows]


def stamp(engine: Engine) -> Stamp:
    """What is another after any change of any key, and costs next to nothing to ask."""
    query = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(api_keys.c.changed), 0))
    with reading(engine) as connection:
        count, changes = connection.execute(query).one()
    return int(count), int(changes)


def revoke(engine: Engine, key_id: str, tenant: str | None = None) -> Key:
    """End a key now; twice is as once. Raises KeyNotFound."""
    key = find(engine, key_id, tenant)
    if key.revoked_at is None:
        with engine.begin() as connection:
            good = (api_keys.c.id == key_id, api_keys.c.revoked_at.is_(None))
            values = {"revoked_at": now(), "changed": api_keys.c.changed + 1}
            if connection.execute(api_keys.update().where(*good).values(**values)).rowcount:
                record(connection, "key.revoke", tenant=key.tenant, key=key_id)
    return find(engine, key_id)


def replace(engine: Engine, old: Key, new: Key, overlap: timedelta) -> Key:
    """Keep a key in the place of another, which ends after an overlap. Raises Conflict where that has ended already or
    another stands in its place, QuotaExceeded where the two stand side by side and one of them is too many.
    """
    end = now() + overlap
    with engine.begin() as connection:
        mine = sa.select(api_keys.c.id).where(api_keys.c.id == old.id, _good())
        if connection.execute(mine.with_for_update()).first() is None:
            raise Conflict(f"the key {old.id} has ended; make a new one", item=old.id)
        _refuse_second(connection, old)
        if old.expires_at is None or old.expires_at > end:
            values = {"expires_at": end, "changed": api_keys.c.changed + 1}
            connection.execute(api_keys.update().where(api_keys.c.id == old.id).values(**values))
        connection.execute(api_keys.insert().values(**row(new)))
        _require_room(connection, new.tenant)
        limits.inherit(connection, old.tenant, old.id, new.id)
        record(connection, "key.rotate", tenant=old.tenant, key=old.id, into=new.id)
    return new


def in_place_of(engine: Engine, key_id: str) -> Key | None:
    """The key that was made in the place of another one last, whatever became of it."""
    query = sa.select(api_keys).where(api_keys.c.replaces == key_id).order_by(api_keys.c.created_at.desc()).limit(1)
    with reading(engine) as connection:
        row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _key(row)


def _refuse_second(connection: sa.Connection, old: Key) -> None:
    """A rotation whose answer was lost is asked for again: the old key's end is that of its overlap by now, which would
    become the new one's, and the first key in its place would be good without anybody who knows its text."""
    there = sa.select(api_keys.c.id).where(api_keys.c.replaces == old.id, _good())
    if (other := connection.execute(there).scalar()) is not None:
        message = f"the key {old.id} was rotated already: {other} stands in its place, so rotate that one"
        raise Conflict(message, item=old.id)


def note_used(engine: Engine, used: Mapping[str, datetime]) -> None:
    """When keys were used last; no change that anybody must follow."""
    with engine.begin() as connection:
        for key_id, moment in sorted(used.items()):  # in one order, so that two replicas never wait for each other
            later = sa.or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < moment)
            connection.execute(
                api_keys.update().where(api_keys.c.id == key_id, later).values(last_used_at=moment)
            )  # fmt: skip


def _good() -> sa.ColumnElement[bool]:
    return api_keys.c.revoked_at.is_(None) & (api_keys.c.expires_at.is_(None) | (api_keys.c.expires_at > now()))


def _require_room(connection: sa.Connection, tenant: str) -> None:
    """Every process has all good keys in memory, and an administrator of a tenant makes them: so many, and no more."""
    query = sa.select(sa.func.count()).select_from(api_keys).where(api_keys.c.tenant == tenant, _good())
    count = connection.execute(query).scalar_one()
    if count > MOST:
        words = f"a tenant may have {MOST:,} keys that are good; revoke some that are not needed"
        raise QuotaExceeded(words, quota="keys", limit=MOST, used=count - 1, retry_after=300.0)


def _of(tenant: str | None) -> sa.Select[Any]:
    query = sa.select(api_keys)
    return query if tenant is None else query.where(api_keys.c.tenant == tenant)


def row(key: Key) -> dict[str, Any]:
    """A new key as it is kept."""
    names: Sequence[str] = ("id", "tenant", "name", "digest", "created_at", "expires_at", "revoked_at", "replaces")
    return {name: getattr(key, name) for name in names} | {"scopes": list(key.scopes), "changed": 1}


def _key(row: sa.RowMapping) -> Key:
    moments = ("created_at", "expires_at", "revoked_at", "last_used_at")
    facts = {name: row[name] for name in ("id", "tenant", "name", "digest", "replaces")}
    times: dict[str, Any] = {name: row[name] and aware(row[name]) for name in moments}
    return Key(scopes=tuple(row["scopes"]), **facts, **times)
