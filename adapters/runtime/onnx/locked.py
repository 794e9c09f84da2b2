"""Host memory that a GPU fetches from by itself: page-locked, what CUDA calls pinned.

Copies from ordinary memory go through a small buffer of the driver's first, since its pages may move; locked ones are
read at the speed of the bus. ONNX Runtime's own allocator for such memory cannot be reached from Python in every
release that we run with, so CUDA's runtime, which it loads anyway, is asked to lock pages of ours.
"""

import ctypes
import functools
import logging
import math
import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np

log = logging.getLogger("espalier.device")
LIBRARIES = ("libcudart.so.13", "libcudart.so.12")
PORTABLE = 1  # cudaHostRegisterPortable: locked for every thread and context
_kept: list[Any] = []  # arrays: CUDA would copy from the old pages of one that was let go, whatever lies there then


def zeros(shape: Sequence[int], kind: type[np.generic], *, locked: bool) -> Any:
    """An array of zeros in pages of its own, locked if asked for and possible; else copies from it are slower.

    For buffers that live as long as the process: what is locked stays so, and is never let go.
    """
    pages = mmap.mmap(-1, max(1, math.prod(shape) * np.dtype(kind).itemsize))
    array = np.frombuffer(pages, kind, math.prod(shape)).reshape(shape)
    if locked and not _lock(array):
        log.info("%d MiB of buffers could not be locked in memory; copies to the GPU are slower", array.nbytes >> 20)
    return array


def _lock(array: Any) -> bool:
    runtime = _cuda_runtime()
    if runtime is None:
        return False
    address = ctypes.c_void_p(array.ctypes.data)
    if runtime.cudaHostRegister(address, ctypes.c_size_t(array.nbytes), ctypes.c_uint(PORTABLE)) == 0:
        _kept.append(array)
        return True
    runtime.cudaGetLastError()  # forget it, or onnxruntime takes it for the outcome of its next kernel
    return False


@functools.cache
def _cuda_runtime() -> ctypes.CDLL | None:
    for name in LIBRARIES:
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    return None
