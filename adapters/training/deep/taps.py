"""What a tail is trained on: taps of every example, as its trunk tells them, in a file that is mapped into memory.

From a trunk of 8 bits they are the very bytes that serving computes; of floats the nearest halves are kept (f16). A job
of 10,000 photos cut at [192, 7, 7] has 188 MB of halves a view, cut at [112, 14, 14] 439 MB: a file, so that it is the
page cache's to keep and not ours. The pixels themselves are the taps of the cut `all`. Of sequences each has the room
of the longest, and a batch is handed out as long as its own longest.
"""

import errno
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapters.pools import Pool, give_way
from adapters.runtime.onnx import session
from adapters.store.objects.folder import sync_file, sync_folder
from adapters.types import Cut, Device, Indices, Tensors

CHUNK = 64  # examples between looks at the owner's wish to cancel
SERVED = "served"  # a view
MOST = float(np.finfo(np.float16).max)
_Run = Callable[[Tensors], NDArray[Any]]  # tensors of one input → [*shape]
Look = Callable[[int], Tensors]  # of the example at a position, as served: its tensors
Vary = Callable[[Tensors, int, int], Tensors]  # those, the position and the number of a view from 1 on → of that view


def unvaried(tensors: Tensors, position: int, number: int) -> Tensors:
    """Every view is what is served."""
    return tensors


@dataclass(frozen=True, slots=True)
class Taps:
    """[V, N, *shape] in the cut's dtype, f16 for f32: views of examples; view 0 is what is served."""

    data: NDArray[Any]
    views: tuple[str, ...]
    lengths: Indices | None = None  # of sequences, [N], in pieces

    def rows(self, views: Indices, index: Indices) -> torch.Tensor:
        """One view of each of M examples, [M, *shape]; a copy."""
        return torch.from_numpy(self._cut(self.data[views, index], index))

    def served(self, index: Indices) -> torch.Tensor:
        """What serving sees of M examples, [M, *shape]."""
        return torch.from_numpy(self._cut(self.data[0, index], index))

    def order(self, index: Indices) -> Indices:
        """In which of M examples are best read one after another, i64 [M]: sequences of about the same length."""
        if self.lengths is None:
            return np.arange(len(index))
        return np.argsort(self.lengths[index], kind="stable")

    def _cut(self, rows: NDArray[Any], index: Indices) -> NDArray[Any]:
        """As long as the longest of them."""
        return rows if self.lengths is None or not len(index) else rows[:, : int(self.lengths[index].max())]


def make(
    file: Path,
    trunk: bytes,
    cut: Cut,
    look: Look,
    count: int,
    views: Sequence[str],
    watch: Callable[[], None],
    vary: Vary = unvaried,
    *,
    lanes: int = 1,
    device: Device = "cpu",
    lengths: Indices | None = None,
) -> Taps:
    """Taps of `count` examples in a file, which is left as it is where it is there; it appears when it is whole.

    Sequences of `lengths` each have the room of the longest.
    `watch` is called after every chunk and may raise. Raises OSError (ENOSPC) where the disk has no room for them.
    Every view goes through the trunk by itself, as serving does: one by one a pass tells the same bits whatever else is
    asked for.
    """
    cut = cut.at(None if lengths is None else int(lengths.max()))
    kept, shape = _kept(cut), (len(views), count, *cut.shape)
    if not file.exists():
        unfinished = file.with_suffix(".part")
        _reserve(unfinished, size(cut, count, views))
        data = np.memmap(unfinished, kept, "r+", shape=shape)
        _fill(data, _runner(trunk, device), look, vary, watch, lanes)
        data.flush()
        sync_file(unfinished)  # else a loss of power leaves holes of zeros under the name of what is whole
        unfinished.rename(file)
        sync_folder(file.parent)
    return Taps(np.memmap(file, kept, "r", shape=shape), tuple(views), lengths)


def size(cut: Cut, count: int, views: Sequence[str]) -> int:
    """Bytes of the file of so many examples."""
    return prod((len(views), count, *cut.shape)) * _kept(cut).itemsize


def _kept(cut: Cut) -> np.dtype[Any]:
    return np.dtype(np.float16 if cut.dtype == "float32" else cut.dtype)


def _reserve(file: Path, size: int) -> None:
    """Room for all of it: a mapped file that the disk has none for ends the process by a signal once it is written."""
    if shutil.disk_usage(file.parent).free < size:
        raise OSError(errno.ENOSPC, f"no room for {size:,} bytes of taps", str(file))
    with file.open("wb") as space:
        os.posix_fallocate(space.fileno(), 0, size)


def _fill(data: NDArray[Any], run: _Run, look: Look, vary: Vary, watch: Callable[[], None], lanes: int) -> None:

    def one(position: int) -> None:
        tensors = look(position)
        for number in range(len(data)):
            told = run(vary(tensors, position, number) if number else tensors)
            data[number, position, : len(told)] = told.clip(-MOST, MOST) if data.dtype == np.float16 else told

    with Pool(lanes, thread_name_prefix="taps", initializer=give_way) as pool:
        for chunk in _chunks(data.shape[1]):
            list(pool.map(one, chunk))
            watch()


def _runner(trunk: bytes, device: Device) -> _Run:
    opened = session.create(trunk, device)
    return lambda tensors: opened.run(None, {name: tensor[np.newaxis] for name, tensor in tensors.items()})[0][0]


def _chunks(count: int) -> Iterator[range]:
    for start in range(0, count, CHUNK):
        yield range(start, min(start + CHUNK, count))
