"""What a version may be asked about: examples that it did not learn from, or has out-of-fold answers for."""

import json

import numpy as np

from adapters import arrays, tasks
from adapters.store import heads
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Arrays, HeadVersion


def data_list(version: HeadVersion, artifacts: Artifacts) -> list[tuple[str, str | None]]:
    """(SHA-256, part) of every example that a version was trained or measured on, in the order of its data.

    Raises HeadDamaged, as everything here does.
    """
    stored = json.loads(heads.stored(artifacts, version, version.manifest["data"]["digest"]))
    return [(sha, part) for sha, part in stored]


def remembered(version: HeadVersion, artifacts: Artifacts) -> dict[str, Arrays]:
    """SHA-256 → what cross-validation said of it when the version was made: a row of fits that had not seen it.

    The version itself was trained on all its data, so only these answers about them count. They are stored as
    `arrays.flat` has them, where an answer is one array f32 [N, K] as it is; NaN for copies that were left out.
    """
    stored = version.manifest["data"].get("answers")
    if stored is None:
        return {}
    keys = [sha for sha, _ in data_list(version, artifacts)]
    shapes = tasks.get(version.manifest["task"]).shapes(version.manifest["classes"])
    table = np.frombuffer(heads.stored(artifacts, version, stored), "<f4").reshape(len(keys), arrays.numbers(shapes))
    answers = arrays.each(arrays.unflat(table, shapes))
    known = np.isfinite(table).all(axis=1).tolist()
    return {key: answer for key, answer, finite in zip(keys, answers, known, strict=True) if finite}


def learned(version: HeadVersion, artifacts: Artifacts) -> set[str]:
    """SHA-256 of the examples that a version's weights were fitted to or chosen by."""
    return {sha for sha, part in data_list(version, artifacts) if part in ("train", "val")}
