"""JPEG: the fast decoder, and what its warnings mean.

libjpeg-turbo (through simplejpeg) stops at every warning of libjpeg, Pillow shrugs all of them off. Some say that the
picture is not the one that was sent (data ends early, a hole), some say nothing of the picture (no end mark, an unknown
revision of JFIF). So the strict decoder reads first; where it stops, what is known to be harmless is mended and it is
asked again. What still stops it is damage.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import simplejpeg
from PIL import Image

from adapters.errors import InvalidImage
from adapters.modalities.image import mapped, xmp

MAGIC = b"\xff\xd8\xff"
MAX_SCANS = 100  # encoders make 3 to 20
_EOI, _SCAN = b"\xff\xd9", b"\xff\xda"
_SOS, _DHT, _APP1 = 0xDA, 0xC4, 0xE1  # markers
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {_DHT, 0xC8, 0xCC})  # SOF0…SOF15
_SEQUENTIAL = frozenset({0xC0, 0xC1})  # with Huffman codes
_LOSSLESS = frozenset({0xC3, 0xC7, 0xCB, 0xCF})
_XMP = b"http://ns.adobe.com/xap/1.0/\x00"
_COLOURS = frozenset({"RGB", "YCbCr", "Gray"})  # the others are inks
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]", re.DOTALL)  # inside of a scan, these are not data
# What is damage of what libjpeg says (jerror.h). All else is a kind of JPEG that only one of the two decoders reads.
_DAMAGE = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression", "Bogus", "a hole", "its last")
_LEFT_OVER = re.compile(r"(\d+) extraneous bytes before marker 0xd9")
# Cameras pad the end of a scan. Where data is missing or changed, tens to thousands of bytes are left over.
_PADDING = 8  # bytes of any kind
_HOLE = bytes(32)  # so many zero bytes inside of a scan are no picture, see `_zeros_are_data`
_MENDS = 4  # at most, one after the other


@dataclass(frozen=True, slots=True)
class Header:
    """What the segments before the picture say; of an odd file, as much as could be read."""

    turns: bool = True  # it may have an orientation other than upright
    frame: int = 0  # the SOF marker
    components: int = 3
    scan: int = 0  # where the first scan's marker is; 0: not found
    width: int = 0  # pixels; 0: not found
    height: int = 0
    scans: int = 0  # there are several, at most so many: libjpeg then holds all coefficients

    @property
    def coefficients(self) -> int:
        """Bytes that libjpeg takes to hold all coefficients of a file of several scans: 2 each."""
        return self.width * self.height * self.components * 2 if self.scans else 0

    @property
    def size(self) -> tuple[int, int] | None:
        """(width, height), unless it does not say."""
        return (self.width, self.height) if self.width and self.height else None


def header(data: bytes | memoryview) -> Header:
    """Of each segment the first bytes are read: a few µs."""
    at, turns, frame = len(MAGIC) - 1, False, (0, 3, 0, 0)
    while at + 4 <= len(data) and data[at] == 0xFF and (marker := data[at + 1]) != _SOS:
        if marker == 0xFF:  # fill
            at += 1
            continue
        length = data[at + 2] << 8 | data[at + 3]
        if marker == _APP1:
            turns = turns or _may_turn(data, at + 4, at + 2 + length)
        elif marker in _FRAMES and at + 10 <= len(data):
            height, width = data[at + 5] << 8 | data[at + 6], data[at + 7] << 8 | data[at + 8]
            frame = marker, data[at + 9], width, height
        at += 2 + length
    kind, components, width, height = frame
    if at + 5 > len(data) or data[at] != 0xFF:
        return Header(True, kind, components, 0, width, height, 1)  # odd: let Pillow look
    several = kind not in _SEQUENTIAL or data[at + 4] < components
    return Header(turns, kind, components, at, width, height, bytes(data[at:]).count(_SCAN) if several else 0)


def refuse_many_scans(head: Header) -> None:
    """Each goes over all of the picture: a small file of thousands keeps a core busy. Raises InvalidImage."""
    if head.scans > MAX_SCANS:
        raise InvalidImage(
            f"not a readable JPEG: it has {head.scans:,} scans; at most {MAX_SCANS} are read; save it anew"
        )


def _may_turn(data: bytes | memoryview, start: int, end: int) -> bool:
    """EXIF may hold an orientation, and so may XMP, which some programs write alone."""
    if data[start : start + 6] == b"Exif\x00\x00":
        return True
    return data[start : start + len(_XMP)] == _XMP and xmp.mentioned(bytes(data[start:end]))


def size(data: bytes | memoryview) -> tuple[int, int] | None:
    """(width, height) by the header, in a tenth of the time that Pillow takes; None where it does not say."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return width, height


def is_ink(data: bytes | memoryview) -> bool:
    """True for CMYK and YCCK, which only Pillow turns to light rightly. Raises ValueError for an odd file."""
    return simplejpeg.decode_jpeg_header(data)[2] not in _COLOURS


def fast(data: bytes | memoryview, head: Header, need: int) -> Image.Image | None:
    """RGB, scaled while decoding to no less than `need` pixels a side; None for inks and for flaws."""
    if head.components > 3:
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, "RGBX", min_height=need, min_width=need)  # uint8 [H, W, 4]
    except ValueError:
        return None
    return None if flaw(data, head) else mapped.picture(pixels)


def scaled_pixels(width: int, height: int, need: int) -> int:
    """How many come out where `need` a side are enough: libjpeg scales by eighths."""
    eighths = next((n for n in range(1, 8) if min(width, height) * n >= 8 * need), 8)
    return -(-width * eighths // 8) * -(-height * eighths // 8)


def mended(data: bytes | memoryview) -> bytes | memoryview:
    """The same JPEG without the flaws that mean nothing, for Pillow to decode. Raises InvalidImage for damage."""
    refuse_many_scans(header(data))
    for _ in range(_MENDS):
        reason = complaint(data)
        if reason is None or not reason.startswith(_DAMAGE + tuple(_BY_COMPLAINT)):
            return data  # sound, or of a kind that Pillow may read
        better = _mend(bytes(data), reason)
        if better is None:
            break
        data = better
    raise InvalidImage(f"not a readable JPEG ({reason}); it may be cut off or damaged")


def complaint(data: bytes | memoryview) -> str | None:
    """What is wrong with it, by a full decode on the smallest scale; None for a sound file."""
    try:
        simplejpeg.decode_jpeg(data, min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        return str(error)
    return flaw(data, header(data))


def _mend(data: bytes, reason: str) -> bytes | None:
    return next((mend(data, reason) for start, mend in _BY_COMPLAINT.items() if reason.startswith(start)), None)


def _closed(data: bytes, reason: str) -> bytes | None:
    """With an end mark; if data is missing, too, that is said next."""
    return None if data.endswith(_EOI) else data + _EOI


def _unpadded(data: bytes, reason: str) -> bytes | None:
    """Without what a camera left between the picture and the end mark: a few bytes, or one byte over and over."""
    found, end = _LEFT_OVER.search(reason), data.find(_EOI, header(data).scan)
    if found is None or end < 0:
        return None
    left = data[end - int(found[1]) : end]
    return data[: end - len(left)] + data[end:] if len(left) <= _PADDING or len(set(left)) == 1 else None


def _of_known_revision(data: bytes, reason: str) -> bytes | None:
    at = data.find(b"JFIF\x00")
    return data[: at + 5] + b"\x01\x01" + data[at + 7 :] if at > 0 else None


def _of_known_transform(data: bytes, reason: str) -> bytes | None:
    """libjpeg takes an unknown transform of Adobe's for YCbCr, or YCCK (jdapimin.c); so say that."""
    at = data.find(b"Adobe")
    assumed = b"\x02" if header(data).components == 4 else b"\x01"
    return data[: at + 11] + assumed + data[at + 12 :] if at > 0 else None


_BY_COMPLAINT: dict[str, Callable[[bytes, str], bytes | None]] = {
    "Premature end of JPEG file": _closed,
    "Corrupt JPEG data": _unpadded,
    "Warning: unknown JFIF revision": _of_known_revision,
    "Unknown Adobe color transform": _of_known_transform,
}


def flaw(data: bytes | memoryview, head: Header) -> str | None:
    """Damage that libjpeg does not see."""
    if not head.scan:
        return None
    if head.scans and head.frame not in _LOSSLESS:
        return None if _has_all_scans(data, head) else "its last scans are missing"
    return "a hole: a run of zero bytes in the middle" if _has_hole(data, head) else None


def _has_hole(data: bytes | memoryview, head: Header) -> bool:
    """Zero bytes where a lost packet or sector was. Decoding often falls into step again behind it."""
    held = data if isinstance(data, bytes) else bytes(data)
    at = held.find(_HOLE, head.scan)
    return 0 <= at < held.find(_EOI, head.scan) and not _zeros_are_data(held, head)


def _zeros_are_data(data: bytes, head: Header) -> bool:
    """True where all-zero bits stand for empty blocks, as they do in blank pictures with tables made to measure.

    With the standard tables (ITU-T T.81, K.3), and most others, they stand for 63 equal coefficients in every block.
    """
    table = data[head.scan + 6] & 15  # of the first component: luma
    symbols = [body[17] for id, body in _tables(data[: head.scan]) if id == 0x10 | table and len(body) > 17]
    return bool(symbols) and symbols[-1] == 0  # the shortest code is all zeros; 0 is "end of block"


def _tables(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The Huffman tables: (class and id, the table with its id in front)."""
    for marker, body in _segments(data, len(MAGIC) - 1):
        while marker == _DHT and len(body) >= 17:
            count = 17 + sum(body[1:17])
            yield body[0], body[:count]
            body = body[count:]


def _segments(data: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    """(marker, body) one after the other, over scans, to the end mark or the end."""
    while at + 4 <= len(data) and data[at : at + 2] != _EOI:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4])
        yield data[at + 1], data[at + 4 : end]
        found = _MARKER.search(data, end)
        at = found.start() if found else len(data)


def _has_all_scans(data: bytes | memoryview, head: Header) -> bool:
    """Every coefficient of every component has come down to its last bit. A file cut between two scans decodes."""
    left: dict[int, set[int]] = {}
    for marker, body in _segments(bytes(data), len(MAGIC) - 1):
        if marker in _FRAMES:
            left = {body[at]: set(range(64)) for at in range(6, len(body) - 2, 3)}
        elif marker == _SOS and len(body) >= 4 and body[-1] & 15 == 0:
            for component in body[1 : 1 + 2 * body[0] : 2]:
                left.get(component, set()).difference_update(range(body[-3], body[-2] + 1))
    return not any(left.values())
