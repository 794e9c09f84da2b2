"""One name for one file, whichever way it came: in an archive, from a disk, in a form, in a manifest.

`normal` is the one spelling that names are compared and kept in. Bytes become a name only by an encoding that is known:
UTF-8, or the one that the caller gives; nothing is guessed.
"""

import codecs
import functools
from pathlib import PurePosixPath

from adapters.errors import InvalidInput
from adapters.nfc import nfc

# Code pages that file systems and zip tools have written names in. A codec is looked up by a name that the caller
# chose: Python also has `unicode_escape`, `idna` or `rot13`, which are none.
ENCODINGS = (
    "utf-8 ascii cp437 cp737 cp775 cp850 cp852 cp855 cp857 cp858 cp860 cp861 cp862 cp863 cp864 cp865 cp866 cp869"
    " cp874 cp932 cp949 cp950 cp1250 cp1251 cp1252 cp1253 cp1254 cp1255 cp1256 cp1257 cp1258 gbk gb2312 gb18030 big5"
    " big5hkscs shift_jis shift_jis_2004 euc_jp euc_kr johab iso8859-1 iso8859-2 iso8859-3 iso8859-4 iso8859-5"
    " iso8859-6 iso8859-7 iso8859-8 iso8859-9 iso8859-10 iso8859-11 iso8859-13 iso8859-14 iso8859-15 iso8859-16 koi8-r"
    " koi8-u tis-620 mac-roman mac-cyrillic mac-greek mac-latin2 mac-turkish mac-iceland"
).split()
MOST_SHOWN = 200  # characters of a name in a message
MOST_NAME = 4096  # characters, as file systems have it; zip has room for 65,535 bytes
MOST_FOLDERS = 50  # that a file may lie in: what is looked up by folders costs no more than this, times the files
_FORM_ESCAPES = (("%22", '"'), ("%0D", "\r"), ("%0A", "\n"))  # WHATWG HTML, "multipart/form-data encoding algorithm"


def encoding(text: str) -> str:
    """A caller's word for an encoding of names → Python's. Raises InvalidInput for one that is unknown."""
    try:
        found = codecs.lookup(text.strip()[:40]).name
    except (LookupError, ValueError):
        found = ""
    if found not in _known():
        examples = "cp932, gbk, cp850, cp866, cp1252 or cp437"
        raise InvalidInput(f"'archive_encoding' must be such as {examples}, not {text[:50]!r}", item="archive_encoding")
    return found


@functools.cache
def _known() -> frozenset[str]:
    """Python's names of them. Looked up late: that loads sixty modules, 2 MiB."""
    return frozenset(codecs.lookup(name).name for name in ENCODINGS)


def normal(name: str) -> str:
    """One spelling of a path: composed accents (macOS decomposes them), forward slashes, no `./` and no `//`."""
    return str(PurePosixPath(nfc(name.replace("\\", "/")))) if name else ""


def decoded(raw: bytes, encoding: str | None) -> str:
    """A name's bytes as text. Raises UnicodeDecodeError where they are not of the encoding, by default UTF-8."""
    return raw.decode(encoding or "utf-8")


def of_form(name: str) -> str:
    """A name as a form carries it → the name: browsers and HTTP libraries write %22 for a quotation mark."""
    for escape, character in _FORM_ESCAPES:
        name = name.replace(escape, character)
    return name


def folded(name: str) -> str:
    """What two names share that Windows and macOS take for one: case, and how accents are composed."""
    return nfc(nfc(name).casefold())


def brief(name: str) -> str:
    """A name in quotation marks for a message, cut where it is long: nothing echoes what was sent at length."""
    return repr(name if len(name) <= MOST_SHOWN else f"{name[:MOST_SHOWN]}…")


def shown(name: str | bytes) -> str:
    """A name for people: what cannot be read or seen is escaped, as in `caf\\xe9`."""
    raw = name if isinstance(name, bytes) else name.encode("utf-8", "surrogateescape")
    text = raw.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
