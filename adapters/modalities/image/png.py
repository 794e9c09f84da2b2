"""PNG: its chunks (ISO/IEC 15948), for what Pillow does not tell or chokes on."""

import zlib
from collections.abc import Iterator

from PIL import PngImagePlugin

from adapters.errors import InvalidImage
from adapters.modalities.image.facts import Facts

_SIGNATURE = 8  # bytes before the first chunk
# What a text may unpack to. Pillow's own 1 MB refuses sound files: XMP of Photoshop, workflows of ComfyUI.
PngImagePlugin.MAX_TEXT_CHUNK = 16 << 20
_METADATA = frozenset({b"tEXt", b"zTXt", b"iTXt", b"iCCP"})
_MAY_TURN = (b"XML:com.adobe.xmp\x00", b"Raw profile type exif\x00")  # texts with an orientation
_SMALL = 1000  # bytes; deflate packs no more than about a thousand to one, so this is at most 1 MB
_DEPTH, _COLOUR = 24, 25  # where the header has the bits of a sample and the kind of pixels
_ALPHA = {4, 6}  # kinds of pixels


def facts(data: bytes | memoryview) -> Facts:
    """Depth, the depth that samples came from (sBIT), and the transparent grey (tRNS)."""
    if len(data) <= _COLOUR:
        raise InvalidImage("not a readable PNG: it ends inside of its header; it may be cut off")
    bits, colour, found = data[_DEPTH], data[_COLOUR], dict[bytes, bytes]()
    for kind, start, end in _chunks(data):
        if kind == b"IDAT":
            break
        if kind in (b"sBIT", b"tRNS"):
            found[kind] = bytes(data[start:end])
    said, clear = found.get(b"sBIT", b""), found.get(b"tRNS", b"")
    if colour in _ALPHA:
        said = said[:-1]
    deep_grey = bits == 16 and colour == 0 and len(clear) == 2
    return Facts(bits, max(said, default=bits), int.from_bytes(clear) if deep_grey else None)


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
