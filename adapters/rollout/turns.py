"""Whose turn a request is: by a key of its own, so that who asks again is answered by the same version."""

import hashlib
import zlib
from collections.abc import Sequence

ENDS = 32 * 1024  # bytes of an input's beginning and of its end that its key is made from
WHOLE = 2**64


def key(sticky: str | None, inputs: Sequence[bytes | memoryview]) -> bytes:
    """What a request is told apart by: the key that came with it, else its inputs.

    Of an input its length, beginning and end count, so that a large one costs no more than a small one. Two inputs
    that differ only between those have their turn together.
    """
    if sticky is not None:
        return sticky.encode("utf-8", "surrogatepass")
    found = 0
    for data in inputs:
        found = zlib.crc32(data[-ENDS:], zlib.crc32(data[:ENDS], zlib.crc32(len(data).to_bytes(8, "big"), found)))
    return found.to_bytes(4, "big")


def is_candidates(rollout_id: str, weight: float, key: bytes) -> bool:
    """Whether the request with that key is one of the share `weight` of all keys.

    Another roll-out picks other keys; the same one with a larger weight would pick these and more.
    """
    digest = hashlib.blake2b(key, digest_size=8, salt=rollout_id.encode()[-16:]).digest()
    return int.from_bytes(digest, "big") < weight * WHOLE
