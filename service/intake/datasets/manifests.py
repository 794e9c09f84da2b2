"""Manifests: tables that say which label each file, or each text in them, has.

The columns are `file_name` and `label`, and may be `split` and `group`; JSON objects have them as keys. A table with
`text` in the place of `file_name` brings the texts themselves, exactly as they stand in it. Case, spaces
and hyphens in their names do not matter, and some other usual names are understood (ALIASES). An unknown column is an
error: a misspelt `split` would let test images into training. `part` names the file where it came in a form under
another name than its own.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from adapters.errors import InvalidLabel, InvalidManifest
from adapters.labels import MISSING, visible
from adapters.types import SplitName
from service.intake.datasets import tables
from service.intake.datasets.names import MOST_NAME
from service.intake.datasets.tables import invalid

SPLITS: Mapping[str, SplitName] = {
    "train": "train", "training": "train", "trn": "train", "val": "val", "valid": "val", "validation": "val",
    "validate": "val", "dev": "val", "development": "val", "test": "test", "testing": "test", "tests": "test",
    "tst": "test",
}  # fmt: skip
_SPLIT_ENDING = re.compile(r"[\s_.-]*(set|data|dataset|images|imgs|split|samples)$")
MOST_SPLIT = 40  # characters of a word for a split
MOST_COLUMN = 200  # characters of a column's name; the longer ones are unknown, whatever they are
WHAT, TEXT, LABEL, OPTIONAL = "file_name", "text", "label", ("split", "group", "part")
LOOKED_AT = 1000  # objects of a JSON manifest in which a text is looked for
ALIASES: Mapping[str, str] = {
    "filename": "file_name", "file": "file_name", "file_path": "file_name", "filepath": "file_name",
    "path": "file_name", "image": "file_name", "image_name": "file_name", "image_path": "file_name",
    "texts": "text", "sentence": "text", "message": "text", "utterance": "text",
    "labels": "label", "class": "label", "class_name": "label", "category": "label",
}  # fmt: skip
NO_VALUE = (
    "which programs write where a value is missing; leave it out, or, where a class is called so, send labels as JSON "
    "strings"
)
_HOW = "the columns are file_name (or text), label and, if you like, split and group"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a manifest; `line` counts from 1, the CSV header included."""

    line: int
    file_name: str  # "" for a text
    label: str
    split: SplitName | None
    group: str | None
    part: str | None = None
    text: str | None = None

    @property
    def item(self) -> str:
        return f"line {self.line}"


def read(text: bytes | memoryview) -> Iterator[Row | InvalidManifest]:
    """The rows of a manifest, and in place of each bad one what is wrong with it.

    Raises InvalidManifest where nothing can be read any more: no text, a header without the columns, broken quotes.
    """
    decoded = tables.decoded(bytes(text))
    if not decoded.strip():
        raise InvalidManifest(f"the manifest is empty; {_HOW}")
    found = _of_objects(decoded) if tables.is_json(decoded) else _of_csv(decoded)
    return (row if isinstance(row, InvalidManifest) else _row(line, row) for line, row in found)


def brings_texts(text: bytes | memoryview) -> bool:
    """Whether a table has a column for texts. Raises InvalidManifest where it cannot be read."""
    decoded = tables.decoded(bytes(text))
    if not decoded.strip():
        return False
    if not tables.is_json(decoded):
        return TEXT in columns(next(tables.rows(decoded), (0, []))[1])
    found = islice(tables.objects(decoded), LOOKED_AT)
    return any(TEXT in columns(list(row)) for _, row in found if isinstance(row, dict))


def columns(names: Sequence[str]) -> list[str]:
    """Names of columns as they are known here; what is unknown stays as it is."""
    plain = [_plain(name) if len(name) <= MOST_COLUMN else name for name in names]
    meant, there = [ALIASES.get(name, name) for name in plain], set(plain)
    # `file_name, image` are two columns, of which the second is unknown.
    return [own if own != m and m in there else m for own, m in zip(plain, meant, strict=True)]


def _plain(name: str) -> str:
    return re.sub(r"[\s-]+", "_", visible(name).casefold())


def split_name(text: str) -> SplitName | None:
    """Which split a word means, in any case and with endings as in `test_set`; None for another word."""
    if len(text) > MOST_SPLIT:
        return None
    word = unicodedata.normalize("NFKC", text).strip().casefold()
    while word not in SPLITS and (shorter := _SPLIT_ENDING.sub("", word)) not in ("", word):
        word = shorter
    return SPLITS.get(word)


def label_text(label: Any) -> str:
    """A label that came as JSON, as text: strings stay as they are, numbers and lists keep their JSON form.

    Raises InvalidLabel for null, for NaN and infinity, which are no labels, and for half a character (`"\\ud800"`),
    which no database stores.
    """
    try:
        text = label if isinstance(label, str) else json.dumps(label, ensure_ascii=False, allow_nan=False)
        text.encode()
    except UnicodeEncodeError:
        raise InvalidLabel("a label holds half a character (a lone surrogate); send whole ones") from None
    except ValueError:
        raise InvalidLabel("a label is NaN or infinite, which says nothing; leave such files out") from None
    if label is None:
        raise InvalidLabel("a label is null; give every file a label")
    return text


def _of_csv(text: str) -> Iterator[tuple[int, dict[str, Any] | InvalidManifest]]:
    lines = tables.rows(text)
    line, header = next(lines, (1, []))
    known = columns(header)
    named = [position for position, name in enumerate(known) if name]
    _check_columns(line, [known[p] for p in named])
    for line, cells in lines:
        # A spreadsheet may write empty cells behind the last column.
        if len(cells) < len(known) or any(cell.strip() for p, cell in enumerate(cells) if p not in named):
            yield line, invalid(line, f"it does not have {len(named)} cells as the header has")
        else:
            row = {known[p]: cells[p] for p in named}
            missing = row[LABEL].strip() in MISSING
            yield line, invalid(line, f"its label is {row[LABEL].strip()!r}, {NO_VALUE}") if missing else row


def _of_objects(text: str) -> Iterator[tuple[int, dict[str, Any] | InvalidManifest]]:
    for line, found in tables.objects(text):
        if isinstance(found, InvalidManifest):
            yield line, found
            continue
        known = columns(list(found))
        try:
            _check_columns(line, known)
            yield line, dict(zip(known, found.values(), strict=True))
        except InvalidManifest as error:
            yield line, error


def _check_columns(line: int, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise invalid(line, f"a column comes twice; {_HOW}")
    if WHAT in names and TEXT in names:
        raise invalid(line, f"it has both file_name and text; keep one: {_HOW}")
    if WHAT not in names and TEXT not in names:
        raise invalid(line, f"it has no 'file_name'; {_HOW}")
    if LABEL not in names:
        raise invalid(line, f"it has no 'label'; {_HOW}")
    if unknown := [name for name in names if name not in (WHAT, TEXT, LABEL, *OPTIONAL)]:
        raise invalid(line, f"{unknown[0][:50]!r} is not a column that is known; {_HOW}")


def _row(line: int, cells: dict[str, Any]) -> Row | InvalidManifest:
    name, part, text = cells.get(WHAT, ""), cells.get("part"), cells.get(TEXT)
    if TEXT in cells and not isinstance(text, str):
        return invalid(line, "its text is no string; write it in quotation marks")
    if TEXT not in cells and (not isinstance(name, str) or not name.strip()):
        return invalid(line, "its file_name is empty; name a file")
    if long := next((c for c in (WHAT, "part") if len(str(cells.get(c, ""))) > MOST_NAME), None):
        return invalid(line, f"its {long} has {len(str(cells[long])):,} characters; at most {MOST_NAME:,}")
    if "\0" in f"{name}{cells.get('group')}":
        return invalid(line, "its file_name or group has a NUL in it, which no database stores; remove it")
    try:
        (name + (text or "")).encode()
        label, group = label_text(cells[LABEL]).strip(), _group(cells.get("group"))
        split = _split(line, cells.get("split"))
        return Row(line, name, label, split, group, None if part is None else str(part), text)
    except UnicodeEncodeError:
        which = TEXT if TEXT in cells else WHAT
        return invalid(line, f"its {which} holds half a character (a lone surrogate); send whole ones")
    except InvalidLabel as error:
        return invalid(line, error.message)
    except InvalidManifest as error:
        return error


def _split(line: int, split: Any) -> SplitName | None:
    if split is None or (isinstance(split, str) and not split.strip()):
        return None
    known = split_name(split) if isinstance(split, str) else None
    if known is None:
        said = repr(split)[:50]
        raise invalid(line, f"the split {said} is not one of train, val, test; leave it empty to let us choose")
    return known


def _group(group: Any) -> str | None:
    return None if group is None or group == "" else label_text(group)
