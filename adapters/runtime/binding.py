"""Passes with IO binding: buffers are made once, on both sides of the bus, so that a pass allocates nothing.

What a pass of ordinary runs does each time, this does once for each size: memory on the GPU for pixels, and memory on
the host that a GPU copies from and to directly. The same code runs on the CPU provider, where tests compare it with
`run`; serving on a CPU keeps to `run`, which is as fast there without a copy.
"""

import queue
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from adapters.runtime.onnx import locked
from adapters.types import Backbone, Device, Embeddings, Pixels


class _Buffers:
    """What one pass of a size needs, for one thread at a time."""

    def __init__(self, session: Any, backbone: Backbone, device: Device, size: int) -> None:
        side, on_gpu = backbone.preprocessing.size, device != "cpu"
        self._session = session
        self._pixels = locked.zeros((size, side, side, 3), np.uint8, locked=on_gpu)
        self._embeddings = locked.zeros((size, backbone.length), np.float32, locked=on_gpu)  # [size, E]
        self._answer = ort.OrtValue.ortvalue_from_numpy(self._embeddings)  # shares the array's memory
        self._on_gpu = on_gpu
        self._given = _on_gpu(self._pixels) if on_gpu else ort.OrtValue.ortvalue_from_numpy(self._pixels)
        self._binding = session.io_binding()
        self._binding.bind_ortvalue_input("pixels", self._given)
        self._binding.bind_ortvalue_output(backbone.output, self._answer)

    def embed(self, pixels: Sequence[Pixels] | Pixels) -> Embeddings:
        """N of uint8 [S, S, 3] → f32 [N, E], N ≤ size. Rows beyond N are of an earlier pass, and nobody reads them."""
        count = len(pixels)
        np.stack(list(pixels), out=self._pixels[:count])
        if self._on_gpu:
            # Not bound anew: that would allocate each time, as `run` does. This returns when the copy is complete.
            self._given.update_inplace(self._pixels)
        self._session.run_with_iobinding(self._binding)  # returns when embeddings are back on the host
        return self._embeddings[:count].copy()  # the next pass writes over them


def _on_gpu(pixels: Pixels) -> Any:
    return ort.OrtValue.ortvalue_from_shape_and_type(pixels.shape, np.uint8, "cuda", 0)


class BoundPasses:
    """Buffers for `at_a_time` passes of each size; whoever comes when they are taken waits."""

    def __init__(self, session: Any, backbone: Backbone, device: Device, sizes: Sequence[int], at_a_time: int) -> None:
        self._sizes = sorted(sizes)
        self._free: dict[int, queue.SimpleQueue[_Buffers]] = {size: queue.SimpleQueue() for size in sizes}
        for size in sizes:
            for _ in range(at_a_time):
                self._free[size].put(_Buffers(session, backbone, device, size))

    def embed(self, pixels: Sequence[Pixels] | Pixels) -> Embeddings:
        """N ≥ 1 of uint8 [S, S, 3] → f32 [N, E]; more than the largest size go in several passes."""
        most = self._sizes[-1]
        parts = [self._pass(pixels[start : start + most]) for start in range(0, len(pixels), most)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _pass(self, pixels: Sequence[Pixels] | Pixels) -> Embeddings:
        free = self._free[next(size for size in self._sizes if size >= len(pixels))]
        buffers = free.get()
        try:
            return buffers.embed(pixels)
        finally:
            free.put(buffers)
