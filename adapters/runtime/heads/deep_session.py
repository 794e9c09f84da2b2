"""Sessions of deep heads: constant weights, no arena of their own, and one more output, what their tail makes of a tap.

That is `pooled` of the tail, which the head's first step reads. Inputs that a deep head was asked are compared by it:
what its backbone would say of them is not at hand where only the trunk was run.

Measured with tails of the embedded backbone of 4.1 MB (onnxruntime 1.31), in MB of resident memory a session: 10.9 as
Python makes one from bytes, which it keeps beside; 6.9 from a file; 4.3 when what making it took is given back; 4.4
once it has run; a little more with an arena each, which makes no run faster. Making one takes 6 ms, of 10.7 MB 16. Of a
tail in 8 bits of 1.05 MiB 1.27 MiB once it has run, made in 4 ms; 1.38, in 2.4 ms, where the session that serves is the
one that optimizes, for what it fused stays in it; without packed weights 1.74, and a run takes three times as long.
Others go on meanwhile, but for the 1 to 3 ms in which it is read: of 1.31 it is not true that the interpreter is held
throughout (onnxruntime #27063).
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters import malloc
from adapters.runtime.onnx import devices, session
from adapters.types import Device

log = logging.getLogger("espalier.device")

CUT = "espalier.cut"  # in a graph's metadata: it is deep, and the cut that it reads
BESIDE = "espalier.beside"  # and there, too: how many numbers of an embedding it reads beside the tap, if any
POOLED, POOLED_BESIDE = "embedding", "pooled"  # the tensor between tail and head; and where an embedding is an input
SESSION_BYTES = 512 * 1024  # resident beside the weights, with what a run leaves
DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(uint8)": np.uint8}  # that heads read
_OPENING = threading.Lock()


def opened(graph: bytes, tensor: str, device: Device = "cpu") -> tuple[Any, Device]:
    """A session that tells that tensor, too, and where it runs; one is made at a time: it takes three times its memory.

    On a GPU where that runs all of its work, else on the CPU, whatever was asked for: tails in int8, for one, whose
    convolutions CUDA leaves to the CPU, one by one. TensorRT would take minutes for each head.
    """
    with _OPENING:
        made = None if devices.resolve(device) == "cpu" else _on_gpu(_telling(graph, tensor))
        opened = _on_cpu(_telling(graph, tensor)) if made is None else made
        malloc.trim()  # after what it was made of is gone
        return opened, "cpu" if made is None else "cuda"


def resident_bytes(graph: bytes) -> int:
    """What a session over this graph takes."""
    return len(graph) + SESSION_BYTES


def _on_gpu(graph: bytes) -> Any:
    """A session there that has run once, so that no request waits for that; None where it does not run there."""
    try:
        with _file(graph) as path:
            made = session.create(path, "cuda", arena=False, whole=False)
        made.run(None, {given.name: _nothing(given) for given in made.get_inputs()})
        return made
    except Exception as error:  # DeviceError, or onnxruntime's own kinds, where the card has no memory left
        log.info("a deep head runs on the CPU: %s", error)
        return None


def _nothing(given: Any) -> NDArray[Any]:
    """Zeros for an input of a session, one where a length is open."""
    return np.zeros([length if isinstance(length, int) else 1 for length in given.shape], DTYPES[given.type])


def _on_cpu(graph: bytes) -> Any:
    """By way of a graph that is optimized already: what is fused in a session is not given back before it ends."""
    with _file(graph) as given, _file() as optimized:
        session.optimize(given, optimized)
        return session.create(optimized, arena=False, optimized=True)


@contextlib.contextmanager
def _file(data: bytes = b"") -> Iterator[str]:
    """Path of a file that is nowhere: of one that it reads itself, onnxruntime keeps no copy."""
    with os.fdopen(os.memfd_create("head"), "wb") as file:
        file.write(data)
        file.flush()
        yield f"/proc/self/fd/{file.fileno()}"


def _telling(graph: bytes, tensor: str) -> bytes:
    """The same graph with one more output. Serialised messages that are joined are merged, lists in them lengthened."""
    value = _field(1, tensor.encode())  # ValueInfoProto.name
    return graph + _field(7, _field(12, value))  # ModelProto.graph.output


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes as protobuf writes it, of less than 128."""
    return bytes([number << 3 | 2, len(data)]) + data
