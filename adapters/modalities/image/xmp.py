"""The orientation that stands in XMP (ISO 16684-1), where a file has no EXIF: phones and editors write it so.

Pillow looks for two ways to write it. XML has more, all equal: either quote, spaces, comments, another prefix for the
name space, UTF-16. This reads them by their letters, and expands nothing; of a hostile packet, it looks at few places.
"""

import itertools
import re
from collections.abc import Iterator

_NAME, _USUAL = b":Orientation", b"tiff"
_SPACE = b"http://ns.adobe.com/tiff/1.0/"  # the name space
_DECLARED = re.compile(rb"xmlns:([\w.-]{1,64})\s{0,64}=\s{0,64}[\"']$")  # in front of it
_PREFIX = re.compile(rb"(?:^|[<\s])([\w.-]{1,64})$")  # in front of the name
# Behind the name: ="6" of an attribute; >6< of an element, which may have attributes of its own.
_VALUE = re.compile(rb"(?:\s{0,64}=\s{0,64}[\"']|(?:\s[^<>]{0,256})?>)\s{0,64}([1-8])\s{0,64}[\"'<]")
_BEFORE = 200  # bytes that are looked at in front of a place
_PLACES = 16  # that are looked at, of what comes up more often


def mentioned(packet: bytes) -> bool:
    """Whether there may be an orientation: costs some µs."""
    return b"Orientation" in packet.replace(b"\x00", b"")


def orientation(packet: bytes) -> int | None:
    """1 to 8, or None where it says none."""
    text = packet.replace(b"\x00", b"")  # of UTF-16 and UTF-32, this leaves the letters that count
    prefixes = {_USUAL} | {found[1] for at in _places(text, _SPACE) if (found := _before(text, at, _DECLARED))}
    for at in _places(text, _NAME):
        prefix, value = _before(text, at, _PREFIX), _VALUE.match(text, at + len(_NAME))
        if prefix and value and prefix[1] in prefixes and not _in_comment(text, at):
            return int(value[1])
    return None


def _before(text: bytes, at: int, pattern: re.Pattern[bytes]) -> re.Match[bytes] | None:
    return pattern.search(text[max(0, at - _BEFORE) : at])


def _in_comment(text: bytes, at: int) -> bool:
    return text.rfind(b"<!--", 0, at) > text.rfind(b"-->", 0, at)


def _places(text: bytes, what: bytes) -> Iterator[int]:
    found = (match.start() for match in re.finditer(re.escape(what), text))
    return itertools.islice(found, _PLACES)
