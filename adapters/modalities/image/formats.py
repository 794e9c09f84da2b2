"""What bytes are, by their first ones: a format that is read, or the name of what was sent instead.

A refusal names what came and how to go on: a person who sent a photo from a phone or the error page of a server should
not have to guess. A file's name plays no part.
"""

import base64
import binascii
import re
from collections.abc import Callable
from importlib.util import find_spec

from adapters.errors import InvalidImage

FORMATS = ("JPEG", "PNG", "WebP", "BMP", "GIF", "TIFF", "AVIF", "HEIC")  # as people write them
SUFFIXES = frozenset(
    ".jpg .jpeg .jpe .jfif .png .apng .webp .bmp .dib .gif .tif .tiff .avif .heic .heif .hif".split()
)  # of files that may be one of these; what they are is settled by their bytes
HEIC_IS_READ = find_spec("pillow_heif") is not None  # the extra `heic`
_MAGIC = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"BM": "BMP",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"II+\x00": "TIFF",  # BigTIFF
    b"MM\x00+": "TIFF",
    b"MM*\x00": "TIFF",  # written by some tools, and read by Pillow
    b"II\x00*": "TIFF",
}
# ISO base media files: the brand says which. `mif1` and `msf1` are containers whose compatible brands say more.
_AVIF, _HEIC = {b"avif", b"avis"}, {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_CONTAINERS = {b"mif1", b"mif2", b"msf1"}
_RAW = "a camera raw ({}); develop it to JPEG, PNG or TIFF"
_CONVERT = "{}; convert it to JPEG or PNG"
# The first bytes of what is sent by mistake. Sources: the formats' own specifications, and file(1)'s magic.
_STRANGERS = {
    b"%PDF": "a PDF; send its pages as images",
    b"%!PS": "PostScript; send it as an image",
    b"\xc5\xd0\xd3\xc6": "PostScript; send it as an image",
    b"II*\x00\x10\x00\x00\x00CR": _RAW.format("Canon CR2"),
    b"IIRO": _RAW.format("Olympus ORF"),
    b"IIRS": _RAW.format("Olympus ORF"),
    b"MMOR": _RAW.format("Olympus ORF"),
    b"IIU\x00": _RAW.format("Panasonic RW2"),
    b"FUJIFILMCCD-RAW": _RAW.format("Fujifilm RAF"),
    b"II\x1a\x00\x00\x00HEAPCCDR": _RAW.format("Canon CRW"),
    b"FOVb": _RAW.format("Sigma X3F"),
    b"\x00MRM": _RAW.format("Minolta MRW"),
    b"\x00\x00\x00\x0cjP  ": _CONVERT.format("JPEG 2000"),
    b"\xff\x4f\xff\x51": _CONVERT.format("JPEG 2000"),
    b"\xff\x0a": _CONVERT.format("JPEG XL"),
    b"\x00\x00\x00\x0cJXL ": _CONVERT.format("JPEG XL"),
    b"II\xbc\x01": _CONVERT.format("JPEG XR"),
    b"8BPS": _CONVERT.format("a Photoshop document"),
    b"gimp xcf": _CONVERT.format("a GIMP document"),
    b"\x00\x00\x01\x00": _CONVERT.format("a Windows icon"),
    b"\x00\x00\x02\x00": _CONVERT.format("a Windows cursor"),
    b"icns": _CONVERT.format("an Apple icon"),
    b"qoif": _CONVERT.format("QOI"),
    b"DDS ": _CONVERT.format("a DirectDraw texture"),
    b"v/1\x01": _CONVERT.format("OpenEXR"),
    b"#?RADIANCE": _CONVERT.format("Radiance HDR"),
    b"#?RGBE": _CONVERT.format("Radiance HDR"),
    b"SIMPLE  =": _CONVERT.format("FITS"),
    b"\x93NUMPY": _CONVERT.format("a NumPy array"),
    b"\x89HDF\r\n": _CONVERT.format("HDF5"),
    b"\xd7\xcd\xc6\x9a": _CONVERT.format("a Windows metafile"),
    b"AT&TFORM": _CONVERT.format("DjVu"),
    b"PK\x03\x04": "a zip archive or an Office document; a zip goes into the field 'archive' of /finetune",
    b"PK\x05\x06": "an empty zip archive",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"BZh": "a bzip2 archive; unpack it",
    b"\xfd7zXZ": "an xz archive; unpack it",
    b"(\xb5/\xfd": "a zstd archive; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"Rar!": "a rar archive; unpack it",
    b"RIFF": "a WAV or AVI file; send its frames as images",
    b"\x1aE\xdf\xa3": "a Matroska or WebM video; send its frames as images",
    b"OggS": "an Ogg recording",
    b"ID3": "an MP3 recording",
    b"fLaC": "a FLAC recording",
    b"\x7fELF": "a program",
    b"\xd0\xcf\x11\xe0": "an Office document",
    b"SQLite format 3": "a database",
    b"{\\rtf": "a text document (RTF)",
    b"version https://git-lfs": "a pointer of git-lfs, not the image itself; fetch the images with: git lfs pull",
}
_PNM = re.compile(rb"P[1-6][ \t\r\n]+[\d#]|P7\nWIDTH|P[fF]\n\d")
# It has no magic: kind of palette, kind of pixels, where a cursor has its count no palette, then place, size and depth.
_TGA = re.compile(
    rb".(?:\0[\x02\x03\x0a\x0b]\0{5}|\x01[\x01\x09]\0\0..[\x0f\x10\x18\x20]).{8}[\x08\x0f\x10\x18\x20]", re.DOTALL
)
_PAGE = "an HTML page, perhaps the error page of a server; look at it with a text editor"
_MARKUP = {b"<svg": "an SVG drawing; render it to PNG", b"<html": _PAGE, b"<!doctype html": _PAGE, b"<body": _PAGE}
_BASE64 = re.compile(rb"[A-Za-z0-9+/_\r\n-]{24,}={0,2}\s*")
_JSON = re.compile(rb"\{|\[\s*(?:[\]\[{\"\d-]|true\b|false\b|null\b)")  # and not a section of settings: [network]
_HEX = re.compile(rb"(?=[^a-f]{0,99}[a-f])(?:0x|\\x)?[0-9a-f]{2}(?:[\s,:]*(?:0x|\\x)?[0-9a-f]{2}){11,}")
_CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_LOOKED_AT = 4096  # bytes of a text


def recognise(data: bytes | memoryview) -> str:
    """The format of FORMATS that these bytes begin as. Raises InvalidImage naming what they are instead."""
    if bytes(data[:3]) == b"\xff\xd8\xff":
        return "JPEG"  # what most are: all else takes longer to tell
    head = bytes(data[:_LOOKED_AT])
    if found := _readable(head):
        return found
    raise InvalidImage(f"not an image: {_named(head) or _unknown()}")


def _unknown() -> str:
    return f"the bytes are not {', '.join(FORMATS[:-1])} or {FORMATS[-1]}"


def _readable(head: bytes) -> str | None:
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WebP"
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if any(head.startswith(magic) for magic, name in _STRANGERS.items() if len(magic) > 8):
        return None  # a CR2 begins as a TIFF
    if head.startswith(b"BM") and _as_ascii(head) is not None:
        return None  # "BMW, 3 series"
    return next((name for magic, name in _MAGIC.items() if head.startswith(magic)), None)


def _brands(head: bytes) -> list[bytes]:
    """The major brand of an ISO base media file, then the compatible ones (ISO 14496-12, 4.3)."""
    length = int.from_bytes(head[:4], "big")
    box = head[8 : min(length, 512)]
    return [box[:4], *(box[at : at + 4] for at in range(8, len(box), 4))]


def has_whole_boxes(data: bytes | memoryview) -> bool:
    """True where every box at the top of an ISO base media file is as long as it says."""
    at = 0
    while at + 8 <= len(data):
        length = int.from_bytes(data[at : at + 4])
        if length == 1:
            length = int.from_bytes(data[at + 8 : at + 16])
        if length == 0:  # up to the end
            return True
        if length < 8:
            return False
        at += length
    return at == len(data)


def _of_brands(head: bytes) -> str | None:
    major, *compatible = _brands(head)
    brands = {major} if major not in _CONTAINERS else {major, *compatible}
    if brands & _AVIF:
        return "AVIF"
    return "HEIC" if brands & (_HEIC | _CONTAINERS) else None


def _named(head: bytes) -> str | None:
    if not head:
        return "the file is empty (0 bytes)"
    if head[4:8] == b"ftyp":
        return f"it is {_film(head)}"
    checks: tuple[Callable[[bytes], str | None], ...] = (_stranger, _text)
    return next((f"it is {found}" for check in checks if (found := check(head))), None)


def _film(head: bytes) -> str:
    brand = head[8:12]
    if brand == b"crx ":
        return _RAW.format("Canon CR3")
    return "a video or recording (MP4, QuickTime); send its frames as images"


def _stranger(head: bytes) -> str | None:
    if _PNM.match(head):
        return _CONVERT.format("a PNM or PFM image")
    if head[128:132] == b"DICM":
        return _CONVERT.format("DICOM")
    if not head.strip(b"\x00"):
        return "nothing but zero bytes, as after a failed transfer or on a damaged disk"
    if _TGA.match(head):
        return _CONVERT.format("a TGA image")
    return next((name for magic, name in _STRANGERS.items() if head.startswith(magic)), None)


def _text(head: bytes) -> str | None:
    text = _as_ascii(head)
    if text is None:
        return None
    low = text.lstrip().lower()
    if low.startswith(b"data:image/"):
        return "the text of a data: address; send the bytes themselves, not base64"
    if low.startswith((b"http://", b"https://")):
        return "the text of a web address; send the image itself"
    if low.startswith(b"<"):
        return _markup(low)
    if low.startswith(b"[internetshortcut]"):
        return "the text of a link (.url); send the image itself"
    if _JSON.match(low):
        return "JSON text, perhaps the error answer of a server"
    if _HEX.fullmatch(low.strip()):
        return "the text of hexadecimal digits; send the bytes themselves"
    if _is_base64(text.strip()):
        return "the text of base64; send the bytes themselves"
    return "text"


def _markup(low: bytes) -> str:
    """The first tag decides: a page may hold a drawing, and a drawing a page."""
    found = [(at, name) for tag, name in _MARKUP.items() if (at := low.find(tag)) >= 0]
    return min(found)[1] if found else "an XML document"


def _is_base64(text: bytes) -> bool:
    if not _BASE64.fullmatch(text):
        return False
    try:
        start = base64.b64decode(b"".join(text.split())[:64], altchars=None if b"-" not in text else b"-_")
    except binascii.Error:
        return False
    return _readable(start) is not None or len(text) >= 64


def _as_ascii(head: bytes) -> bytes | None:
    """Text as lower bytes alone, other letters dropped; None for what is not text."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return head[: len(head) & ~1].decode("utf-16", errors="ignore").encode("ascii", errors="ignore")
    if _CONTROLS.search(head):
        return None
    text = bytes(byte for byte in head if byte < 128)
    return text if len(text) > 0.7 * len(head) else None  # of prose in any Latin script; compressed data has half
