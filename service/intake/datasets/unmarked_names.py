"""Names in a zip that no mark calls UTF-8 but that are valid UTF-8: read so, unless they may as well be something else.

macOS writes UTF-8 without a mark, and old tools write local code pages. Of most texts in these the bytes are not valid
UTF-8, but 猫 in GBK is C3 A8, which is è. A pair of bytes of GBK is valid with a chance of one in six, so three of them
in a row, a character of three bytes, or Latin letters around speak for UTF-8. Where no name has that, nobody can tell.
"""

import re
from collections.abc import Iterable

from adapters.problems import Problems
from service.intake.datasets import names
from service.intake.datasets.member_names import invalid

SAID = "not marked, read as UTF-8"
MANY, LATIN = 3, 2  # characters beyond ASCII, and letters of ASCII, that a word of UTF-8 may be told by
_WORD = re.compile("[A-Za-z\x80-\U0010ffff]+")
_DECOMPOSED = re.compile("[A-Za-z][\u0300-\u036f]")  # as macOS writes é


def check(unmarked: Iterable[str]) -> None:
    """Raises InvalidArchive that lists every name where all may be of an old encoding as well."""
    listed = list(unmarked)
    if any(map(_is_utf8, listed)):
        return
    problems = Problems()
    for name in listed:
        hint = "say which with archive_encoding (utf-8, gbk, …), or make the zip with marked names"
        problems.add(invalid(name, f"its name does not say its encoding and may be {_readings(name)}; {hint}"))
    problems.raise_any()


def _is_utf8(name: str) -> bool:
    """Whether any word in a name is hardly a text of another encoding."""
    return any(_is_certain(word) for word in _WORD.findall(name) if not word.isascii())


def _is_certain(word: str) -> bool:
    beyond = sum(c > "\x7f" for c in word)
    long = beyond >= MANY or max(word) >= "\u0800"  # of three bytes or four
    return long or len(word) - beyond >= LATIN or _DECOMPOSED.search(word) is not None


def _readings(name: str) -> str:
    """What it is in UTF-8 and in an encoding of old tools."""
    try:
        other = f" or {names.brief(name.encode().decode('gbk'))} in gbk"
    except UnicodeDecodeError:
        other = " or of an older one"
    return f"{names.brief(name)} in UTF-8{other}"
