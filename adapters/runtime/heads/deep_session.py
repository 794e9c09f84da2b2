"""Sessions of deep heads: constant weights, no arena of their own, and one more output, what their tail makes of a tap.

`pooled` of the tail is what the head's first step reads. Inputs that a deep head was asked are compared by it: what its
backbone would say of them is not at hand where only the trunk was run.
"""

import threading
from typing import Any

from adapters.runtime.onnx import session

CUT = "espalier.cut"  # in a graph's metadata: it is deep, and the cut that it reads
POOLED = "embedding"  # the tensor between tail and head
SESSION_BYTES = 0  # resident beside the file
_OPENING = threading.Lock()


def opened(graph: bytes) -> Any:
    """A session on the CPU; heads are opened one after the other."""
    with _OPENING:
        return session.create(_telling(graph, POOLED), "cpu", arena=False)


def resident(graph: bytes) -> int:
    """Bytes that a session over this graph takes."""
    return len(graph) + SESSION_BYTES


def _telling(graph: bytes, tensor: str) -> bytes:
    """The same graph with one more output. Serialised messages that are joined are merged, lists in them lengthened."""
    value = _field(1, tensor.encode())  # ValueInfoProto.name
    return graph + _field(7, _field(12, value))  # ModelProto.graph.output


def _field(number: int, data: bytes) -> bytes:
    """A field of bytes as protobuf writes it, of less than 128."""
    return bytes([number << 3 | 2, len(data)]) + data
