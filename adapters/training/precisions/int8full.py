"""int8 with weights of 8 bits throughout: nearer to fp32, and only for processors that add products in 32 bits.

x86 with VNNI and Arm with dot products do. Others add pairs in 16 bits, which overflow: a backbone of this precision is
refused there (`adapters.runtime.processor.able`), because the same digest must embed alike everywhere. On the embedded
backbone the worst of 40 held-out crops keeps a cosine of 0.98 with fp32 instead of 0.92; docs/adr/0004 has more.
"""

from adapters.training.precisions import int8
from adapters.types import Pixels

LEAST_MEAN, LEAST_WORST = 0.97, 0.9


def convert(graph: bytes, pixels: Pixels) -> bytes:
    """See `adapters.training.precisions.int8.convert`."""
    return int8.converted(graph, pixels, seven_bits=False)
