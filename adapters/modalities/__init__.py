"""INPUT SEAM: one file per modality; the file name is the name. A modality turns bytes into backbone input.

Each file has `probe(data)`, a cheap check before anything is stored, and `decode(data, preprocessing)`.
"""

from typing import Any, Protocol

from adapters.types import Pixels, Preprocessing


class Modality(Protocol):
    """What every file of this folder offers."""

    def probe(self, data: bytes | memoryview, *, max_pixels: int) -> dict[str, Any]:
        """Check the bytes without paying for a full decode; raises InvalidImage or ImageTooLarge."""

    def decode(self, data: bytes | memoryview, preprocessing: Preprocessing, *, max_pixels: int) -> Pixels:
        """Bytes → uint8 [size, size, 3]; raises InvalidImage or ImageTooLarge."""
