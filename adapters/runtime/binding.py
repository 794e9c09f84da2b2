"""Passes with IO binding: buffers are made once, on both sides of the bus, so that a pass allocates nothing.

What a pass of ordinary runs does each time, this does once for each size: memory on the GPU for inputs, and memory on
the host that a GPU copies from and to directly. The same code runs on the CPU provider, where tests compare it with
`run`; serving on a CPU keeps to `run`, which is as fast there without a copy.
"""

import queue
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

from adapters import modalities
from adapters.runtime.onnx import locked
from adapters.types import Backbone, Device, Input, Output, Rows, Tensors


class _Buffers:
    """What one pass of a size needs, for one thread at a time."""

    def __init__(self, session: Any, backbone: Backbone, device: Device, size: int) -> None:
        on_gpu, inputs = device != "cpu", modalities.of(backbone).inputs(backbone.spec)
        self._session = session
        self._inputs = {each.name: _zeros(each, size, on_gpu) for each in inputs}
        self._told = [_zeros_like(each, size, on_gpu) for each in backbone.outputs]  # [size, …] each
        self._answers = [ort.OrtValue.ortvalue_from_numpy(array) for array in self._told]  # share the arrays' memory
        self._on_gpu = on_gpu
        self._given = {name: _shared(tensor, on_gpu) for name, tensor in self._inputs.items()}
        self._binding = session.io_binding()
        for name, given in self._given.items():
            self._binding.bind_ortvalue_input(name, given)
        for each, answer in zip(backbone.outputs, self._answers, strict=True):
            self._binding.bind_ortvalue_output(each.name, answer)

    def embed(self, inputs: Sequence[Tensors]) -> Rows:
        """N inputs → f32 [N, E], N ≤ size. Rows beyond N are of an earlier pass, and nobody reads them."""
        count = len(inputs)
        for name, tensor in self._inputs.items():
            np.stack([one[name] for one in inputs], out=tensor[:count])
            if self._on_gpu:
                # Not bound anew: that would allocate each time, as `run` does. This returns when the copy is complete.
                self._given[name].update_inplace(tensor)
        self._session.run_with_iobinding(self._binding)  # returns when embeddings are back on the host
        told = [array[:count].copy() for array in self._told]  # the next pass writes over them
        return told[0] if len(told) == 1 else list(zip(*told, strict=True))


def _zeros(each: Input, size: int, on_gpu: bool) -> Any:
    shape = [size, *(length for length in each.shape if length is not None)]  # bound are those of one shape only
    return locked.zeros(tuple(shape), np.dtype(each.dtype).type, locked=on_gpu)


def _zeros_like(each: Output, size: int, on_gpu: bool) -> Any:
    return locked.zeros((size, *each.shape), np.dtype(each.dtype).type, locked=on_gpu)


def _joined(parts: Sequence[Rows]) -> Rows:
    """Of several passes: arrays, or lists of pairs."""
    return [row for part in parts for row in part] if isinstance(parts[0], list) else np.concatenate(parts)


def _shared(tensor: Any, on_gpu: bool) -> Any:
    """Memory on the GPU like an array's, or on a CPU the array's own."""
    if not on_gpu:
        return ort.OrtValue.ortvalue_from_numpy(tensor)
    return ort.OrtValue.ortvalue_from_shape_and_type(tensor.shape, tensor.dtype.type, "cuda", 0)


def _each(inputs: Tensors | Sequence[Tensors]) -> Sequence[Tensors]:
    """N inputs, of their tensors with N first, too."""
    if not isinstance(inputs, Mapping):
        return inputs
    count = len(next(iter(inputs.values())))
    return [{name: tensor[row] for name, tensor in inputs.items()} for row in range(count)]


class BoundPasses:
    """Buffers for `at_a_time` passes of each size; whoever comes when they are taken waits.

    For backbones whose inputs have one shape.
    """

    def __init__(self, session: Any, backbone: Backbone, device: Device, sizes: Sequence[int], at_a_time: int) -> None:
        self._sizes = sorted(sizes)
        self._free: dict[int, queue.SimpleQueue[_Buffers]] = {size: queue.SimpleQueue() for size in sizes}
        for size in sizes:
            for _ in range(at_a_time):
                self._free[size].put(_Buffers(session, backbone, device, size))

    def embed(self, inputs: Tensors | Sequence[Tensors]) -> Rows:
        """N ≥ 1 inputs, or their tensors with N first → f32 [N, E]; more than the largest size go in several passes."""
        most, each = self._sizes[-1], _each(inputs)
        parts = [self._pass(each[start : start + most]) for start in range(0, len(each), most)]
        return parts[0] if len(parts) == 1 else _joined(parts)

    def _pass(self, inputs: Sequence[Tensors]) -> Rows:
        free = self._free[next(size for size in self._sizes if size >= len(inputs))]
        buffers = free.get()
        try:
            return buffers.embed(inputs)
        finally:
            free.put(buffers)
