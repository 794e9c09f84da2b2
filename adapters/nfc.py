"""The composed form of a text (NFC), in a time that grows with its length alone, a few milliseconds at a time.

`unicodedata.normalize` sorts marks by insertion, without letting go of the interpreter: 80,000 combining marks of two
kinds in turn held it for 1.5 s and more. Here long texts are cut where nothing composes across the cut, and a long run
of marks is put into canonical order before: the answer is the same, and nothing is refused. The Stream-Safe Text Format
(UAX #15, section 13) would bound runs as well, by a joiner after each 30 marks: it changes what a text says.
"""

import functools
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby

PIECE = 500  # characters of a piece at least; of twice as many, 5 ms at worst (U+0F73, which is two marks)
_LOOKED_AT = range(0x300, 0x1F000)  # no character outside of it composes with what stands before it
_JAMO = (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))  # vowels and ends of Hangul, which compose by rule


def nfc(text: str) -> str:
    """The text in NFC, as `unicodedata.normalize` gives it."""
    if len(text) <= PIECE or text.isascii():
        return unicodedata.normalize("NFC", text)
    return "".join(unicodedata.normalize("NFC", _quick(piece)) for piece in pieces(text))


def pieces(text: str) -> Iterator[str]:
    """A text in pieces of which each composes by itself: a cut stands before a character that joins nothing."""
    start = 0
    while start < len(text):
        found = _begins().search(text, start + PIECE)
        end = found.start() if found else len(text)
        yield text[start:end]
        start = end


@functools.cache
def _begins() -> re.Pattern[str]:
    """A character that never composes with what stands before it, nor changes places with it; made once, in 60 ms."""
    return re.compile(f"[^{''.join(map(chr, joining()))}]")


def joining() -> list[int]:
    """Code points that are, or begin with, a mark or the second part of a composed character."""
    found = {code: unicodedata.decomposition(chr(code)) for code in _LOOKED_AT}
    seconds = (int(parts.split()[1], 16) for parts in found.values() if parts[:1] != "<" and " " in parts)
    return sorted({*seconds, *_JAMO, *(code for code, parts in found.items() if _begins_with_a_mark(code, parts))})


def _begins_with_a_mark(code: int, parts: str) -> bool:
    character = chr(code)
    return unicodedata.combining(unicodedata.normalize("NFD", character)[0] if parts else character) != 0


def _quick(piece: str) -> str:
    """A piece that is normalised quickly: one that is long is a run of marks, and is put in order."""
    return piece if len(piece) <= 2 * PIECE else _ordered("".join(unicodedata.normalize("NFD", c) for c in piece))


def _ordered(decomposed: str) -> str:
    """Canonical order (The Unicode Standard, D109): each run of marks by class, those of one class as they come."""
    runs = groupby(decomposed, lambda c: unicodedata.combining(c) != 0)
    return "".join(_by_class(run) if marks else "".join(run) for marks, run in runs)


def _by_class(marks: Iterable[str]) -> str:
    """In loops of Python, which let other threads in; `sorted` would hold them up for 30 ms."""
    found: dict[int, list[str]] = defaultdict(list)
    for mark in marks:
        found[unicodedata.combining(mark)].append(mark)
    return "".join("".join(found[number]) for number in sorted(found))
