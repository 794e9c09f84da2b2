"""What a version may honestly be asked about: examples that it did not learn from, or has out-of-fold answers for."""

import json

import numpy as np

from adapters.store import heads
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Floats, HeadVersion


def data_list(version: HeadVersion, artifacts: Artifacts) -> list[tuple[str, str | None]]:
    """(SHA-256, part) of every example that a version was trained or measured on, in the order of its data.

    Raises HeadDamaged, as everything here does.
    """
    stored = json.loads(heads.stored(artifacts, version, version.manifest["data"]["digest"]))
    return [(sha, part) for sha, part in stored]


def remembered(version: HeadVersion, artifacts: Artifacts) -> dict[str, Floats]:
    """SHA-256 → what cross-validation said of it when the version was made: fits that had not seen it, f32 [K].

    The version itself was trained on all its data, so these are its only honest answers about them.
    """
    stored = version.manifest["data"].get("answers")
    if stored is None:
        return {}
    keys = [sha for sha, _ in data_list(version, artifacts)]
    table = np.frombuffer(heads.stored(artifacts, version, stored), "<f4").reshape(
        len(keys), len(version.manifest["classes"])
    )
    return {key: row for key, row in zip(keys, table, strict=True) if np.isfinite(row).all()}


def learned(version: HeadVersion, artifacts: Artifacts) -> set[str]:
    """SHA-256 of the examples that a version's weights were fitted to or chosen by."""
    return {sha for sha, part in data_list(version, artifacts) if part in ("train", "val")}
