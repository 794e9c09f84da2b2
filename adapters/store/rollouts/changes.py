"""What other changes of a head do to its roll-out, in the transaction of the change.

A roll-out compares a candidate with the version that was live when it began. Whoever moves `live` has decided, so that
it ends; who deletes the candidate is told to end it first.
"""

from collections.abc import Collection

import sqlalchemy as sa

from adapters.errors import Conflict
from adapters.rollout.facts import PROMOTED, STOPPED
from adapters.store.rollouts import rows
from adapters.store.schema import rollouts
from adapters.tenancy import shown


def live_moved(connection: sa.Connection, head: str, number: int, why: str = "by its owner") -> None:
    """`live` points at a version now; where that is no move, nothing happens."""
    found = rows.locked(connection, head)
    if found is None or number == found.base:
        return
    if number == found.version:
        rows.end(connection, head, PROMOTED, f"{shown(head)}@live was pointed at version {number} {why}")
    else:
        rows.end(connection, head, STOPPED, f"{shown(head)}@live was pointed at another version, {number}, {why}")


def live_removed(connection: sa.Connection, head: str) -> None:
    """There is no live version any more to compare with."""
    rows.end(connection, head, STOPPED, f"the alias {shown(head)}@live was removed")


def versions_retired(connection: sa.Connection, head: str, numbers: Collection[int]) -> None:
    """Versions go because they knew an example that was taken back: a roll-out of one of them ends now."""
    found = rows.locked(connection, head)
    if found is not None and {found.version, found.base} & set(numbers):
        gone = found.version if found.version in numbers else found.base
        rows.end(connection, head, STOPPED, f"version {gone} was deleted: it knew examples that were taken back")


def is_running(connection: sa.Connection, head: str) -> bool:
    """Whether a roll-out of the head is under way."""
    mine = (rollouts.c.head == head, rollouts.c.status == rows.RUNNING)
    return connection.execute(sa.select(rollouts.c.id).where(*mine)).first() is not None


def refuse_deletion(connection: sa.Connection, head: str, number: int) -> None:
    """Raises Conflict where the version is being rolled out."""
    mine = (rollouts.c.head == head, rollouts.c.version == number, rollouts.c.status == rows.RUNNING)
    if connection.execute(sa.select(rollouts.c.id).where(*mine)).first() is not None:
        fix = f"DELETE /heads/{shown(head)}/rollout ends that, and then it can be deleted"
        raise Conflict(f"version {number} is being rolled out; {fix}", item=f"{shown(head)}@{number}")
