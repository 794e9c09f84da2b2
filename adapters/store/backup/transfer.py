"""Blobs from one store to another, each checked as it is read."""

from collections.abc import Callable, Iterable
from functools import partial

from adapters.errors import CorruptArtifact
from adapters.store.objects.artifacts import Artifacts

BATCH = 200  # blobs after which somebody is told how far it is; as many names are made durable together
Tell = Callable[[int, int], None]  # (blobs done, of how many)


def copy(source: Artifacts, target: Artifacts, digests: Iterable[str], tell: Tell, lenient: bool = False) -> list[str]:
    """Copy blobs; those that are there already, and sound, are left alone. Returns what was lost, if that may be.

    Raises CorruptArtifact for a blob that is damaged or missing at the source, unless `lenient`; StorageError,
    StorageFull.
    """
    wanted, lost = sorted(set(digests)), []
    for start in range(0, len(wanted), BATCH):
        lost += _copy_some(source, target, wanted[start : start + BATCH], lenient)
        tell(min(start + BATCH, len(wanted)), len(wanted))
    return lost


def _copy_some(source: Artifacts, target: Artifacts, digests: list[str], lenient: bool) -> list[str]:
    lost: list[str] = []
    while True:
        try:
            target.put_all((d, partial(source.get, d)) for d in digests if d not in lost)
            return lost
        except CorruptArtifact as error:
            if not lenient or error.item is None or error.item in lost:
                raise
            lost.append(error.item)


def sizes(artifacts: Artifacts) -> dict[str, int]:
    """Bytes of each blob that there is."""
    return {blob.name: blob.size for blob in artifacts.list()}
