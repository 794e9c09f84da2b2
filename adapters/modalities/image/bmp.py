"""BMP: the kinds that Pillow does not read, which are pixels in bit fields of any width, and palettes of 2 bits.

An alpha channel of a BMP that is zero everywhere is no transparency: Windows programs leave that byte unset.
"""

import struct
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image

from adapters.errors import InvalidImage
from adapters.modalities.image import strips
from adapters.modalities.image.facts import Facts

_FILE_HEADER = 14  # bytes; then the size of what follows
_INFO, _WITH_MASKS = 40, 52  # bytes of a header; from the second on, masks are part of it
_RAW, _FIELDS, _ALPHA_FIELDS = 0, 3, 6  # compressions
Bytes = npt.NDArray[np.uint8]
Colours = Callable[[Bytes], Bytes]  # bytes of rows [rows, bytes of a row] → colours [rows, W, 3 or 4]
FACTS = Facts(declares_alpha=False)


def facts(data: bytes | memoryview) -> Facts:
    """The same for all: see above."""
    return FACTS


def size(data: bytes | memoryview) -> tuple[int, int] | None:
    """(width, height) of a BMP that `read` reads; None for others."""
    try:
        header, width, height, _, bits, compression = struct.unpack_from("<IiiHHI", data, _FILE_HEADER)
    except struct.error:
        return None
    fields = bits in (16, 32) and compression in (_FIELDS, _ALPHA_FIELDS)
    if header < _INFO or width <= 0 or not (fields or (bits == 2 and compression == _RAW)):
        return None
    return width, abs(height)


def read(data: bytes | memoryview) -> Image.Image:
    """RGB or RGBA. Raises InvalidImage for one that is cut off or has fields of no width."""
    width, height = struct.unpack_from("<ii", data, _FILE_HEADER + 4)
    bits = struct.unpack_from("<H", data, _FILE_HEADER + 14)[0]
    rows = _rows(data, width, abs(height), bits)
    rows = rows if height < 0 else rows[::-1]
    colours = _of_palette(data, width) if bits == 2 else _of_fields(data, width, bits)
    picture: Image.Image | None = None
    for top, bottom in strips.rows(width, len(rows)):  # numbers of a colour take four times its byte
        strip = Image.fromarray(colours(rows[top:bottom]))
        picture = picture or Image.new(strip.mode, (width, len(rows)))
        picture.paste(strip, (0, top))
    assert picture is not None
    return picture


def _rows(data: bytes | memoryview, width: int, height: int, bits: int) -> Bytes:
    """uint8 [height, bytes of a row], each padded to 4 bytes."""
    stride, start = (width * bits + 31) // 32 * 4, struct.unpack_from("<I", data, 10)[0]
    if start + stride * height > len(data):
        raise InvalidImage("not a readable BMP: there are fewer pixels than it says; it may be cut off")
    return np.frombuffer(data, np.uint8, stride * height, start).reshape(height, stride)


def _of_palette(data: bytes | memoryview, width: int) -> Colours:
    """2 bits a pixel, the first in the upper bits; the palette has blue, green, red and a byte that means nothing."""
    header, colours = (struct.unpack_from("<I", data, at)[0] for at in (_FILE_HEADER, _FILE_HEADER + 32))
    count = min(colours or 4, 4)
    start = _FILE_HEADER + header
    if start + 4 * count > len(data):
        raise InvalidImage("not a readable BMP: it ends inside of its palette; it may be cut off")
    palette = np.zeros((4, 3), np.uint8)
    palette[:count] = np.frombuffer(data, np.uint8, 4 * count, start).reshape(count, 4)[:, 2::-1]
    shifts = np.array([6, 4, 2, 0], np.uint8)
    return lambda rows: palette[(rows[:, :, None] >> shifts & 3).reshape(len(rows), -1)[:, :width]]


def _of_fields(data: bytes | memoryview, width: int, bits: int) -> Colours:
    masks = _masks(data)
    if not all(masks[:3]) or any(mask >> bits for mask in masks):
        raise InvalidImage("not a readable BMP: a colour has no bit field inside of a pixel; it is damaged")

    def colours(rows: Bytes) -> Bytes:
        pixels = np.ascontiguousarray(rows[:, : width * bits // 8]).view(f"<u{bits // 8}")  # [rows, W]
        return np.stack([_band(pixels, mask) for mask in masks if mask], axis=-1)

    return colours


def _masks(data: bytes | memoryview) -> tuple[int, ...]:
    """Red, green, blue and, where there is one, alpha."""
    header, compression = (struct.unpack_from("<I", data, at)[0] for at in (_FILE_HEADER, _FILE_HEADER + 16))
    has_alpha = header > _WITH_MASKS or compression == _ALPHA_FIELDS
    return struct.unpack_from(f"<{4 if has_alpha else 3}I", data, _FILE_HEADER + _INFO)


def _band(pixels: npt.NDArray[np.unsignedinteger], mask: int) -> Bytes:
    """The bits of one colour, scaled to 0…255."""
    low = (mask & -mask).bit_length() - 1
    most = mask >> low
    values = (pixels & pixels.dtype.type(mask)) >> low
    return (values.astype(np.float32) * (255 / most)).round().astype(np.uint8)
