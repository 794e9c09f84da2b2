"""Bytes → the text that they say, one way for training and for serving: strict UTF-8, NFC, one kind of line end.

NFC and not NFKC: BERT's own normalizer decomposes (NFD) and drops accents, so what is canonically equal gives equal
pieces either way, and NFC makes counts, fingerprints and previews equal, too. NFKC would also change what is said
(x² → x2, ½ → 1⁄2), which the model never saw done.
"""

import re

from adapters.errors import InvalidText, TextTooLong
from adapters.nfc import nfc

BOM = b"\xef\xbb\xbf"  # which some editors put before UTF-8
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")
# What a person is likely to send by mistake, told by its first bytes; all else is told by the byte that is not UTF-8.
_OTHERS = {
    b"\xff\xd8\xff": "a JPEG image", b"\x89PNG": "a PNG image", b"GIF8": "a GIF image", b"%PDF": "a PDF",
    b"PK\x03\x04": "a zip archive or an Office file", b"\x1f\x8b": "gzip", b"{\\rtf": "rich text (RTF)",
    b"\xd0\xcf\x11\xe0": "an old Office file", b"RIFF": "a WebP image or a sound",
}  # fmt: skip
_LINE_ENDS = re.compile("\r\n|[\r\x0b\x0c\x85\u2028\u2029]")  # a tokenizer would drop some and join two words
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_UTF_8_BYTES = 4  # of one character, at most
SHOWN = 200  # characters of a preview


def text(data: bytes | memoryview, most: int) -> str:
    """What the bytes say, normalised; at most so many characters. Raises InvalidText, TextTooLong."""
    raw = bytes(data)
    if len(raw) > most * _UTF_8_BYTES + len(BOM):  # too long whatever it says: not worth decoding
        raise TextTooLong(f"the text has {len(raw):,} bytes and {_most(most)}")
    start = len(BOM) if raw.startswith(BOM) else 0
    said = _decoded(raw[start:], start)
    if len(said) > most:
        raise TextTooLong(f"the text has {len(said):,} characters and {_most(most)}")
    _refuse_control(said, start)
    return nfc(_LINE_ENDS.sub("\n", said))


def is_text(data: bytes | memoryview, look: int = 1024) -> bool:
    """Whether the first bytes are UTF-8 without control characters and of no other kind that we know."""
    head = bytes(data[:look])
    if not head or _kind(head):
        return False
    try:
        said = head.decode("utf-8")
    except UnicodeDecodeError as error:
        if len(head) < look or error.start < look - _UTF_8_BYTES:  # not a character that the look cuts in two
            return False
        said = head[: error.start].decode("utf-8")
    return not _CONTROL.search(said)


def shortened(said: str, most: int = SHOWN) -> str:
    """The start of a text on one line for people to look at, with … where more follows."""
    line = " ".join(said[: 2 * most].split())
    return line if len(line) <= most and len(said) <= 2 * most else f"{line[:most].rstrip()}…"


def _most(most: int) -> str:
    return f"may have {most:,} characters; send the part that tells what it is about (only the first are read anyway)"


def _decoded(raw: bytes, offset: int) -> str:
    if kind := _kind(raw):
        raise InvalidText(f"these bytes are {kind}, not a text; send UTF-8")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        at, byte = error.start + offset, raw[error.start]
        raise InvalidText(
            f"the text is not UTF-8: byte 0x{byte:02x} at offset {at:,}; save it as UTF-8"
            f" (of Windows-1252 or Latin-1: `iconv -f WINDOWS-1252 -t UTF-8`)"
        ) from None


def _kind(raw: bytes) -> str | None:
    """What bytes are that are not a text in UTF-8; None where nothing speaks against it."""
    if raw.startswith(_UTF_16) or _has_every_second_byte_zero(raw):
        return "UTF-16"
    return next((name for magic, name in _OTHERS.items() if raw.startswith(magic)), None)


def _has_every_second_byte_zero(raw: bytes) -> bool:
    head = raw[:64]
    return len(head) >= 4 and (not any(head[1::2]) or not any(head[::2])) and any(head)


def _refuse_control(said: str, start: int) -> None:
    if found := _CONTROL.search(said):
        offset, code = start + len(said[: found.start()].encode()), ord(found[0])
        raise InvalidText(
            f"the text has a control character (U+{code:04X}) at byte {offset:,}"
            + ("; it may be Windows-1252 read as Latin-1" if code >= 0x80 else "; is it a binary file?")
        )
