"""PNG: its chunks (ISO/IEC 15948), for what Pillow does not tell or chokes on."""

import struct
import zlib
from collections.abc import Iterator

from PIL import Image, PngImagePlugin

from adapters.errors import InvalidImage
from adapters.modalities.image.facts import Facts

_SIGNATURE = 8  # bytes before the first chunk
# What a text may unpack to. Pillow's own 1 MB refuses sound files: XMP of Photoshop, workflows of ComfyUI.
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20
_METADATA = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
_MAY_TURN = (b"XML:com.adobe.xmp\x00", b"Raw profile type exif\x00")  # texts with an orientation
_SMALL = 1000  # bytes; deflate packs no more than about a thousand to one, so this is at most 1 MB
_DEPTH, _COLOUR, _INTERLACE = 24, 25, 28  # where the header has the bits of a sample, the kind of pixels, their order
_GREY, _RGB, _PALETTE, _GREY_ALPHA, _RGBA = 0, 2, 3, 4, 6  # kinds of pixels
_SAMPLES = {_GREY: 1, _RGB: 3, _PALETTE: 1, _GREY_ALPHA: 2, _RGBA: 4}  # of a pixel
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)  # x, y, dx, dy
_AT_A_TIME = 1 << 20  # bytes inflated to be counted


def facts(data: bytes | memoryview) -> Facts:
    """Depth, the depth that samples came from (sBIT), and the transparent colour of grey and RGB (tRNS).

    Raises InvalidImage for a palette of which nothing came.
    """
    if len(data) <= _COLOUR:
        raise InvalidImage("not a readable PNG: it ends inside of its header; it may be cut off")
    bits, colour, found = data[_DEPTH], data[_COLOUR], _before_pixels(data)
    if colour == _PALETTE and not found.get(b"PLTE"):
        raise InvalidImage("not a readable PNG: its pixels are colours of a palette that is missing; it may be damaged")
    said = found.get(b"sBIT", b"")
    said = said[:-1] if colour in (_GREY_ALPHA, _RGBA) else said
    return Facts(bits, max(said, default=bits), _clear(found.get(b"tRNS", b""), colour))


def _before_pixels(data: bytes | memoryview) -> dict[bytes, bytes]:
    """What declares samples: later ones count for nothing, as for libpng."""
    found = dict[bytes, bytes]()
    for kind, start, end in _chunks(data):
        if kind == b"IDAT":
            break
        if kind in (b"sBIT", b"tRNS", b"PLTE"):
            found[kind] = bytes(data[start:end])
    return found


def _clear(key: bytes, colour: int) -> tuple[int, ...]:
    size = 2 * _SAMPLES.get(colour, 0)  # bytes
    return struct.unpack(f">{size // 2}H", key[:size]) if colour in (_GREY, _RGB) and len(key) >= size else ()


def lean(data: bytes | memoryview) -> bytes | memoryview:
    """Without large texts and colour profiles, which nothing here reads, and which Pillow refuses beyond a size."""
    kept, at = [], 0
    for kind, start, end in _chunks(data):
        if kind in _METADATA and end - start > _SMALL and not bytes(data[start : start + 32]).startswith(_MAY_TURN):
            kept.append(data[at : start - 8])
            at = end + 4
    return b"".join([*kept, data[at:]]) if kept else data


def check(data: bytes | memoryview) -> None:
    """Every chunk to the end of the picture has its checksum. Raises InvalidImage."""
    if bytes(data[12:16]) == b"CgBI":
        raise InvalidImage("not a readable PNG: it is in the form of iPhone apps (CgBI); save it as an ordinary PNG")
    for kind, start, end in _chunks(data):
        if end + 4 > len(data):
            raise InvalidImage(f"not a readable PNG: it ends inside of its chunk {_text(kind)}; it may be cut off")
        if zlib.crc32(data[start - 4 : end]) != int.from_bytes(data[end : end + 4]):
            raise InvalidImage(f"not a readable PNG: the checksum of its chunk {_text(kind)} is wrong; it is damaged")


def refuse_short(data: bytes | memoryview, image: Image.Image) -> None:
    """Raises InvalidImage where the compressed pixels end well, but too early: Pillow leaves the other rows black.

    Only a last row of zeros can be one that never came. It costs another inflating, and most pictures have none.
    """
    interlaced = bool(data[_INTERLACE])
    last = image.height - 1 - (interlaced and image.height % 2)  # of seven passes the last one has odd rows alone
    if _came(image, last):
        return
    wanted = _bytes_of_pixels(image.width, image.height, data[_DEPTH] * _SAMPLES[data[_COLOUR]], interlaced)
    if (came := _inflated(data, wanted)) < wanted:
        problem = f"its pixels unpack to {came:,} of {wanted:,} bytes"
        raise InvalidImage(f"not a readable PNG: {problem}; it may be cut off or damaged")


def _came(image: Image.Image, row: int) -> bool:
    """False where all of it is zero, as Pillow makes an image before there are pixels."""
    nothing = (0, (0,) * len(image.getbands()))
    if any(image.getpixel((x, row)) not in nothing for x in range(image.width)):  # mostly, the first is
        return True
    # Of RGB, Pillow has a fourth byte, which is 255 from when a pixel comes: black ones need not be counted.
    return image.mode == "RGB" and all(image.crop((0, row, image.width, row + 1)).tobytes("raw", "RGBX")[3::4])


def _bytes_of_pixels(width: int, height: int, bits: int, interlaced: bool) -> int:
    """Each row has a byte in front, its filter. `bits` are those of a pixel."""
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = [(-(-(width - x) // dx), -(-(height - y) // dy)) for x, y, dx, dy in passes]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0)


def _inflated(data: bytes | memoryview, most: int) -> int:
    """Bytes that the pixels unpack to; beyond `most` they are not counted."""
    unpacker, came = zlib.decompressobj(), 0
    for kind, start, end in _chunks(data):
        rest = data[start:end] if kind == b"IDAT" else b""
        while rest and came < most and not unpacker.eof:
            came += len(unpacker.decompress(rest, _AT_A_TIME))
            rest = unpacker.unconsumed_tail
    return came + len(unpacker.flush())


def _text(kind: bytes) -> str:
    return kind.decode("ascii", errors="replace")


def _chunks(data: bytes | memoryview) -> Iterator[tuple[bytes, int, int]]:
    """(kind, start, end) of each chunk's content, up to the end mark or the end."""
    at = _SIGNATURE
    while at + 8 <= len(data):
        length, kind = int.from_bytes(data[at : at + 4]), bytes(data[at + 4 : at + 8])
        yield kind, at + 8, at + 8 + length
        if kind == b"IEND":
            return
        at += 12 + length
