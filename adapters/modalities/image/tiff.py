"""TIFF: what its tags declare (TIFF 6.0, BigTIFF, DNG 1.7), and files of which nobody can say which picture is meant.

Pillow reads samples, and leaves out of account what follows from the tags: a preview before the photo, more pages,
signs, polarity. This reads the tags alone, a few hundred bytes.
"""

import struct
from collections.abc import Iterator, Mapping

from PIL import Image, ImagePalette

from adapters.errors import InvalidImage
from adapters.modalities.image.facts import Facts

Tags = Mapping[int, tuple[int, ...]]

_SUBFILE, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC = 254, 256, 257, 258, 262
_COLOUR_MAP, _SUB_IFDS, _EXTRA, _FORMAT, _DNG_VERSION = 320, 330, 338, 339, 50706
_WHITE_IS_ZERO, _CFA, _LINEAR_RAW = 0, 32803, 34892
_REDUCED, _MASK = 1, 4  # bits of NewSubfileType
_SIGNED, _FLOAT = 2, 3
_FORMATS = {_SIGNED: "signed", _FLOAT: "float", 4: "undefined", 5: "complex", 6: "complex float"}
_TYPES = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i", 13: "I", 16: "Q", 18: "Q"}  # of whole numbers
_MAX_DIRECTORIES, _MAX_TAGS, _MAX_VALUES = 64, 4096, 256  # of a file that goes in circles or lies
_RAW = "not an image that can be read: it is a camera raw ({}); develop it to JPEG, PNG or TIFF"


def facts(data: bytes | memoryview) -> Facts:
    """Of the first page, if it is the picture. Raises InvalidImage for camera raws, several pages, signed samples."""
    if bytes(data[:4]) == b"MM\x00+":
        raise InvalidImage("not a readable TIFF: big-endian BigTIFF is of a kind that is not supported")
    pages = list(_directories(data))
    if not pages:
        raise InvalidImage("not a readable TIFF: it has no directory; it may be cut off or damaged")
    first = pages[0]
    _refuse_raw(data, first)
    _refuse_pages(pages)
    _refuse_samples(first)
    bits = first.get(_BITS) or (1,)
    polarity, declared = _one(first, _PHOTOMETRIC) == _WHITE_IS_ZERO, _EXTRA in first or len(bits) < 4
    return Facts(max(bits), 32, (), polarity, declared, max(1, sum(bits) // 8))


def with_its_colours(image: Image.Image) -> Image.Image:
    """Colours of a palette have 16 bits, and some programs write 8, of which Pillow keeps the upper ones: black.

    As libtiff's own readers have it (checkcmap in tif_getimage.c): where none is above 255, all are of 8 bits.
    """
    colours = image.tag_v2.get(_COLOUR_MAP, ()) if image.mode in ("P", "PA") else ()  # type: ignore[attr-defined]
    if max(colours, default=256) < 256:
        image.palette = ImagePalette.raw("RGB;L", bytes(colours))
    return image


def _refuse_raw(data: bytes | memoryview, first: Tags) -> None:
    """The first picture is a preview, or what the sensor saw: the photo is elsewhere, or has to be developed."""
    below = [tags for offset in first.get(_SUB_IFDS, ()) for tags in _directories(data, offset)]
    if _DNG_VERSION in first:
        raise InvalidImage(_RAW.format("DNG"))
    if any(_one(tags, _PHOTOMETRIC) in (_CFA, _LINEAR_RAW) for tags in (first, *below)):
        raise InvalidImage(_RAW.format("unprocessed samples of a sensor"))
    if any(_area(tags) > _area(first) for tags in below):
        raise InvalidImage(_RAW.format("its first picture is a preview of a larger one"))


def _refuse_pages(pages: list[Tags]) -> None:
    first, *rest = pages
    if (_one(first, _SUBFILE) or 0) & _REDUCED and any(_area(tags) > _area(first) for tags in rest):
        raise InvalidImage(_RAW.format("its first picture is a preview of a larger one"))
    full = [tags for tags in rest if not (_one(tags, _SUBFILE) or 0) & (_REDUCED | _MASK)]
    if count := sum(_area(tags) * 4 > _area(first) for tags in full):  # smaller ones are previews, if unmarked
        problem = f"the TIFF has {count + 1} pages, and which one is meant it does not say"
        raise InvalidImage(f"{problem}; send each page as an image of its own")


def _refuse_samples(first: Tags) -> None:
    sort = max(first.get(_FORMAT) or (1,))
    if sort == _FLOAT:
        raise InvalidImage("float pixels have no agreed range; convert the image to 8 or 16 bits")
    if sort in _FORMATS and sort != 4:
        problem = f"{_FORMATS[sort]} pixels ({max(first.get(_BITS) or (1,))} bits) have no agreed range"
        raise InvalidImage(f"{problem}; convert the image to 8 bits, or to 16 bits without sign over their full range")


def _area(tags: Tags) -> int:
    return (_one(tags, _WIDTH) or 0) * (_one(tags, _HEIGHT) or 0)


def _one(tags: Tags, tag: int) -> int | None:
    return next(iter(tags.get(tag, ())), None)


def _directories(data: bytes | memoryview, at: int | None = None) -> Iterator[Tags]:
    """The tags with whole numbers, of each picture in a row. Ends where the file is odd: decoding judges that."""
    order = "<" if bytes(data[:2]) == b"II" else ">"
    big = 43 in bytes(data[2:4])
    seen: set[int] = set()
    try:
        at = _number(data, 8 if big else 4, order, big) if at is None else at
        while at and at not in seen and len(seen) < _MAX_DIRECTORIES:
            seen.add(at)
            tags, at = _directory(data, at, order, big)
            yield tags
    except (struct.error, OverflowError):  # the second for offsets of 64 bits
        return


def _number(data: bytes | memoryview, at: int, order: str, big: bool) -> int:
    value: int = struct.unpack_from(order + ("Q" if big else "I"), data, at)[0]
    return value


def _directory(data: bytes | memoryview, at: int, order: str, big: bool) -> tuple[Tags, int]:
    """Tags, and where the next directory is."""
    count = struct.unpack_from(order + ("Q" if big else "H"), data, at)[0]
    entry, tags, start = (20 if big else 12), {}, at + (8 if big else 2)
    for number in range(min(count, _MAX_TAGS)):
        tag, values = _entry(data, start + number * entry, order, big)
        tags[tag] = values
    return tags, _number(data, start + count * entry, order, big)


def _entry(data: bytes | memoryview, at: int, order: str, big: bool) -> tuple[int, tuple[int, ...]]:
    tag, sort, count = struct.unpack_from(order + ("HHQ" if big else "HHI"), data, at)
    form = _TYPES.get(sort)
    if form is None:
        return tag, ()
    layout = f"{order}{min(count, _MAX_VALUES)}{form}"
    inline = at + (12 if big else 8)
    fits = count * struct.calcsize(form) <= (8 if big else 4)
    return tag, struct.unpack_from(layout, data, inline if fits else _number(data, inline, order, big))
