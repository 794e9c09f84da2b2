"""fp16, for GPUs: weights and arithmetic in half precision, pixels and both outputs as they were.

ONNX Runtime's CPU provider has no half-precision convolution: it loads the graph and computes in fp32 between casts.
"""

from typing import Any

import onnx
from numpy.typing import NDArray
from onnxruntime.transformers.float16 import convert_float_to_float16

from adapters.modalities.image import Pixels

LEAST_MEAN, LEAST_WORST = 0.999, 0.99


def convert(graph: bytes, pixels: Pixels) -> bytes:
    """The graph in fp16; nothing is calibrated. Values beyond ±65,504 are cut off there."""
    half = convert_float_to_float16(onnx.load_from_string(graph), keep_io_types=True)
    onnx.checker.check_model(half, full_check=True)
    return bytes(half.SerializeToString(deterministic=True))


def convert_tail(tail: bytes, taps: NDArray[Any], begins: bool) -> None:
    """Heads are asked on the CPU, which computes in fp32 between casts."""
