"""Which of many hard inputs to keep: the hardest that are not like each other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapters.types import Embeddings, Floats

SHORTLIST = 5  # times as many hesitant inputs as wanted, to choose different ones from
ALIKE = 0.95  # cosine of two embeddings from which two inputs count as one; see docs/guides/drift.md


def uncertain(embeddings: Embeddings, hesitation: Floats, count: int) -> list[int]:
    """Rows of `embeddings` f32 [N, D]: hesitant ones (f32 [N], 1 is most), each far from those before it."""
    order = np.argsort(-hesitation, kind="stable")
    last = hesitation[order[min(SHORTLIST * count, len(order)) - 1]]
    shortlist = order[hesitation[order] >= last]  # those as hesitant as the last one, too
    chosen = apart(unit(embeddings[shortlist]), hesitation[shortlist], count)
    return [int(shortlist[row]) for row in chosen]


def apart(x: Embeddings, worth: Floats, count: int) -> list[int]:
    """Rows of unit vectors f32 [N, D]: that of most worth, and then by worth times the distance to those before it."""
    chosen = [int(worth.argmax())]
    distance = 1 - x @ x[chosen[0]]
    while len(chosen) < count:
        gain = distance * worth
        gain[chosen] = -1
        chosen.append(int(gain.argmax()))
        distance = np.minimum(distance, 1 - x @ x[chosen[-1]])
    return chosen


def unit(x: Floats) -> Floats:
    """Rows f32 [N, D] of length one."""
    scaled: Floats = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return scaled


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of inputs that are kept and of new ones."""

    add: list[int]  # positions among the new ones
    remove: list[int]  # positions among those that are kept


def plan(kept: Embeddings, kept_hardness: Floats, new: Embeddings, hardness: Floats, keep: int) -> Plan:
    """Unit embeddings f32 [K, E] of what is kept and f32 [N, E] of what is new, with their hardness; `keep` ≥ 1.

    Of inputs that are alike the one that is there stays, else the hardest. Where there is no room for all, those stay
    that are hard and `apart`.
    """
    fresh = different(kept, new, hardness)
    both = np.concatenate([kept, new[fresh]]) if len(kept) else new[fresh]
    if len(both) <= keep:
        return Plan(fresh, [])
    chosen = set(apart(both, np.concatenate([kept_hardness, hardness[fresh]]), keep))
    add = [row for place, row in enumerate(fresh, len(kept)) if place in chosen]
    return Plan(add, [row for row in range(len(kept)) if row not in chosen])


def different(kept: Embeddings, new: Embeddings, hardness: Floats) -> list[int]:
    """Rows of `new` that are like nothing that is kept and like no harder one of them, the hardest first."""
    rows: list[int] = []
    for row in np.argsort(-hardness, kind="stable").tolist():
        if not _is_alike(kept, new[row]) and not _is_alike(new[rows], new[row]):
            rows.append(row)
    return rows


def _is_alike(others: Embeddings, one: Floats) -> bool:
    return len(others) > 0 and bool((others @ one).max() >= ALIKE)


def packed(embedding: Floats) -> bytes:
    """A unit vector f32 [E] as it is kept: f16, little-endian."""
    return embedding.astype("<f2").tobytes()


def unpacked(vectors: Sequence[bytes]) -> Embeddings:
    """The inverse, of several of one length: unit f32 [N, E]."""
    if not vectors:
        return np.zeros((0, 0), np.float32)
    return unit(np.stack([np.frombuffer(vector, "<f2") for vector in vectors]).astype(np.float32))
