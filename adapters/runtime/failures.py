"""Faults of ours that are one head's or one backbone's: the others of a request answer all the same."""

from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from adapters.errors import BackboneNotFound, CorruptArtifact, EspalierError, StorageError
from adapters.runtime.heads.loaded import LiveHead
from adapters.tenancy import shown
from adapters.types import HeadRef

T = TypeVar("T")
OURS = (CorruptArtifact, StorageError, BackboneNotFound)


@dataclass(frozen=True, slots=True)
class HeadError:
    """One head of several that cannot answer."""

    head: str  # its name
    code: str
    detail: str


Failed = list[tuple[str, EspalierError]]  # (name of a head, why it cannot answer)


async def or_reason(result: Awaitable[T]) -> T | EspalierError:
    """What it gives, or the fault of ours for which it does not; what is the caller's is raised."""
    try:
        return await result
    except OURS as error:
        return error


def working(refs: Iterable[HeadRef], found: Sequence[LiveHead | EspalierError]) -> tuple[list[LiveHead], Failed]:
    """Heads that are there, and the others with the reason. Raises it where no head is left."""
    heads = [head for head in found if isinstance(head, LiveHead)]
    failed = [(ref.name, e) for ref, e in zip(refs, found, strict=True) if isinstance(e, EspalierError)]
    if not heads:
        raise failed[0][1]
    return heads, failed


def told(failed: Failed) -> list[HeadError]:
    """For the answer."""
    return [HeadError(shown(name), error.code, error.message) for name, error in failed]
