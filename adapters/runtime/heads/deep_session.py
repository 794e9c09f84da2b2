"""Sessions of deep heads: constant weights, no arena of their own, and one more output, what their tail makes of a tap.

That is `pooled` of the tail, which the head's first step reads. Inputs that a deep head was asked are compared by it:
what its backbone would say of them is not at hand where only the trunk was run.

Measured with tails of the embedded backbone of 4.1 MB (onnxruntime 1.31), in MB of resident memory a session: 10.9 as
Python makes one from bytes, which it keeps beside; 6.9 from a file; 4.3 when what making it took is given back; 4.6
once it has run; a little more with an arena each, which makes no run faster. Making one takes 3 ms, of 10.7 MB 16. Of a
tail in 8 bits of 1.05 MiB 1.33 MiB once it has run; without packed weights 1.74, and a run takes three times as long.
Others go on meanwhile, but for the 1 to 3 ms in which it is read: of 1.31 it is not true that the interpreter is held
throughout (onnxruntime #27063).
"""

import os
import threading
from typing import Any

from adapters import malloc
from adapters.runtime.onnx import session

CUT = "espalier.cut"  # in a graph's metadata: it is deep, and the cut that it reads
BESIDE = "espalier.beside"  # and there, too: how many numbers of an embedding it reads beside the tap, if any
POOLED, POOLED_BESIDE = "embedding", "pooled"  # the tensor between tail and head; and where an embedding is an input
SESSION_BYTES = 512 * 1024  # resident beside the weights, with what a run leaves
_OPENING = threading.Lock()


def opened(graph: bytes, tensor: str) -> Any:
    """A session on the CPU that tells that tensor, too; one is made at a time, as that takes three times its memory."""
    with _OPENING:
        made = _from_memory(_telling(graph, tensor))
        malloc.trim()
        return made


def resident_bytes(graph: bytes) -> int:
    """What a session over this graph takes."""
    return len(graph) + SESSION_BYTES


def _from_memory(graph: bytes) -> Any:
    """By way of a file that is nowhere: of one that it reads itself, onnxruntime keeps no copy."""
    with os.fdopen(os.memfd_create("head"), "wb") as file:
        file.write(graph)
        file.flush()
        return session.create(f"/proc/self/fd/{file.fileno()}", "cpu", arena=False)


def _telling(graph: bytes, tensor: str) -> bytes:
    """The same graph with one more output. Serialised messages that are joined are merged, lists in them lengthened."""
    value = _field(1, tensor.encode())  # ValueInfoProto.name
    return graph + _field(7, _field(12, value))  # ModelProto.graph.output


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes as protobuf writes it, of less than 128."""
    return bytes([number << 3 | 2, len(data)]) + data
