"""Tables as text → their rows: CSV as spreadsheets and scripts write it, and JSON, one object a line or in one list.

Any separator of `,` `;` tab and `|`, quotes with spaces around them, UTF-8 or, by its mark, UTF-16 or UTF-32.
"""

import codecs
import re
from collections.abc import Iterator
from typing import Any

from adapters.errors import InvalidManifest
from service.limits import json_text

VALUES, CHARACTERS_A_VALUE = 20_000, 8  # a JSON text may have so many values, and one more for each so many characters
DELIMITERS = ",;\t|"
_MARKS = (  # longest first: UTF-32's begins with UTF-16's
    (codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"),
)  # fmt: skip
_BLANK = "[ \\xa0\\ufeff\\u200b]*"  # what may stand around a quoted cell
_LINE_END = re.compile("\r\n|\n|\r")
_SEPARATOR_LINE = re.compile(r"\s*sep=(.)[ \t]*\r?\n", re.IGNORECASE)  # Excel's own, before the header

Line = tuple[int, list[str]]  # number of the line that a row begins on, from 1; cells


def decoded(raw: bytes) -> str:
    """A table's text. Raises InvalidManifest, naming the line, for what is neither UTF-8 nor marked as UTF-16 or 32."""
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), "utf-8")
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise invalid(line, "it is not UTF-8; save the manifest as UTF-8") from None
    if "\0" in text:
        raise invalid(text.count("\n", 0, text.index("\0")) + 1, "it has a NUL in it; save the manifest as UTF-8")
    return text


def is_json(text: str) -> bool:
    """Whether a table is JSON: one object a line, or a list of objects."""
    return text.lstrip()[:1] in ("{", "[")


def rows(text: str, delimiters: str = DELIMITERS) -> Iterator[Line]:
    """Rows of CSV that have anything in them, each with the number of its line. Raises InvalidManifest at a bad one."""
    marked = _SEPARATOR_LINE.match(text)
    start = marked.end() if marked else len(text) - len(text.lstrip("\r\n"))
    delimiter = marked.group(1) if marked else delimiter_of(_LINE_END.split(text[start:], 1)[0], delimiters)
    cell = _cell(delimiter)
    line, at, first, cells = text.count("\n", 0, start) + 1, start, True, list[str]()
    began = line
    while first or at < len(text) or cells:
        first = False
        found = cell.match(text, at)
        if found is None:
            raise invalid(line, "it cannot be read as CSV: a quotation mark that is not closed, or text behind one")
        quoted, plain, end = found.groups()
        cells.append(plain if quoted is None else quoted.replace('""', '"'))
        line, at = line + len(_LINE_END.findall(found.group())), found.end()
        if end == delimiter:
            continue
        if any(text.strip() for text in cells):
            yield began, cells
        cells, began = [], line


def delimiter_of(header: str, delimiters: str = DELIMITERS) -> str:
    """The separator that a header uses most."""
    return max(delimiters, key=lambda mark: (header.count(mark), -delimiters.index(mark)))


def _cell(delimiter: str) -> re.Pattern[str]:
    """One cell and what ends it; possessive, so that no text makes it look twice."""
    mark = re.escape(delimiter)
    blank = _BLANK.replace(" ", "") if delimiter == " " else _BLANK
    quoted = f'{blank}"([^"]*+(?:""[^"]*+)*+)"{blank}'
    return re.compile(f'(?:{quoted}|(?!{blank}")([^{mark}\r\n]*+))({mark}|\r\n|\n|\r|\\Z)')


def objects(text: str) -> Iterator[tuple[int, dict[str, Any] | InvalidManifest]]:
    """JSON objects with the numbers of their lines (or places in a list), and errors in place of what is none."""
    if text.lstrip().startswith("["):
        yield from _listed(text)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield number, _object(number, line)


def _listed(text: str) -> Iterator[tuple[int, dict[str, Any] | InvalidManifest]]:
    found = _parsed(1, text)
    for number, value in enumerate(found if isinstance(found, list) else [found], start=1):
        if isinstance(value, dict | InvalidManifest):
            yield number, value
        else:
            yield number, invalid(number, "it is not a JSON object; make each entry of the list one")


def _object(number: int, line: str) -> dict[str, Any] | InvalidManifest:
    found = _parsed(number, line)
    if isinstance(found, dict | InvalidManifest):
        return found
    return invalid(number, "it is not a JSON object; write one object on each line")


def _parsed(number: int, text: str) -> Any:
    try:
        return json_text.loads(text, VALUES + len(text) // CHARACTERS_A_VALUE)
    except json_text.Twice as error:
        return invalid(number, str(error))
    except ValueError as error:
        return invalid(number, f"it is not JSON ({str(error)[:100]}); write one object on each line")


def invalid(line: int, problem: str) -> InvalidManifest:
    """The error of one line."""
    return InvalidManifest(f"line {line}: {problem}", item=f"line {line}")
