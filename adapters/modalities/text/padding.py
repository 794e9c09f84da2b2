"""Texts side by side: padded to one of a few lengths, so that a GPU meets few shapes, with a mask that hides it.

Attention and the mean see only what the mask lets through: an answer is the same padded or not, but for float noise
(`onnx_encoder` proves it of each backbone that is built).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapters.types import Tensors

BUCKETS = (16, 32, 64, 128, 256)
IDS, MASK = "input_ids", "attention_mask"


def collate(items: Sequence[Tensors], pad: bool) -> Tensors:
    """Tensors [T] of N texts → [N, bucket] each; one alone [1, T], without a copy, unless `pad`."""
    if len(items) == 1 and not pad:
        return {name: tensor[np.newaxis] for name, tensor in items[0].items()}
    length = bucket(max(len(item[IDS]) for item in items))
    return {name: _padded([item[name] for item in items], length) for name in (IDS, MASK)}


def bucket(length: int) -> int:
    """The shortest bucket that holds so many pieces; past the last, the next multiple of it."""
    return next((b for b in BUCKETS if b >= length), -(-length // BUCKETS[-1]) * BUCKETS[-1])


def _padded(rows: Sequence[NDArray[np.int64]], length: int) -> NDArray[np.int64]:
    out = np.zeros((len(rows), length), np.int64)
    for row, values in zip(out, rows, strict=True):
        row[: len(values)] = values
    return out
