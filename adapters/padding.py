"""Inputs of different lengths side by side: padded to one of a few lengths, so that a GPU meets few shapes.

What is padded is zeros; a mask among the tensors says where they are. Attention and means see only what the mask lets
through, so an answer is the same padded or not, but for float noise (`onnx_encoder` proves it of each backbone of texts
that is built).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters.types import Tensors

BUCKETS = (16, 32, 64, 128, 256)


def collate(items: Sequence[Tensors], pad: bool) -> Tensors:
    """Tensors [T, …] of N inputs → [N, bucket, …] each; one alone [1, T, …], without a copy, unless `pad`."""
    if len(items) == 1 and not pad:
        return {name: tensor[np.newaxis] for name, tensor in items[0].items()}
    return {name: _padded([item[name] for item in items]) for name in items[0]}


def bucket(length: int) -> int:
    """The shortest bucket that holds so many; past the last, the next multiple of it."""
    return next((b for b in BUCKETS if b >= length), -(-length // BUCKETS[-1]) * BUCKETS[-1])


def stacked(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """What was told of N inputs, [T, …] each → [N, T, …], with zeros behind the shorter ones; without a copy of one."""
    if len(rows) == 1:
        return rows[0][np.newaxis]
    if len({row.shape for row in rows}) == 1:
        return np.stack(rows)
    return _rows(rows, max(map(len, rows)))


def joined(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """What several passes told, [N, T, …] each → of all inputs, as `stacked`."""
    same = len({part.shape[1:] for part in parts}) == 1
    return np.concatenate(parts) if same else stacked([row for part in parts for row in part])


def _padded(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    return _rows(rows, bucket(max(map(len, rows))))


def _rows(rows: Sequence[NDArray[Any]], length: int) -> NDArray[Any]:
    out = np.zeros((len(rows), length, *rows[0].shape[1:]), rows[0].dtype)
    for row, values in zip(out, rows, strict=True):
        row[: len(values)] = values
    return out
