"""Manifests: CSV or JSONL text that says which label each file has.

CSV has a header with `file_name` and `label`, and may have `split` and `group`; JSONL has one object with the same
keys on each line. An unknown column is an error: a misspelt `split` would let test images into training.
"""

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.errors import InvalidLabel, InvalidManifest
from adapters.types import SplitName

SPLITS: Mapping[str, SplitName] = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "test": "test",
}  # fmt: skip
REQUIRED, OPTIONAL = ("file_name", "label"), ("split", "group")
_HOW = "the columns are file_name, label and, if you like, split and group"

# Python's own limit of 128 KiB would blame the file; the length of a label is the task's to judge.
csv.field_size_limit(64 << 20)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a manifest; `line` counts from 1, the CSV header included."""

    line: int
    file_name: str
    label: str
    split: SplitName | None
    group: str | None

    @property
    def item(self) -> str:
        return f"line {self.line}"


def read(text: bytes | memoryview) -> Iterator[Row]:
    """The rows of a CSV or JSONL manifest. Raises InvalidManifest, naming the line."""
    decoded = _decoded(bytes(text))
    if not decoded.strip():
        raise InvalidManifest(f"the manifest is empty; {_HOW}")
    pairs = _jsonl(decoded) if decoded.lstrip().startswith("{") else _csv(decoded)
    return (_row(line, cells) for line, cells in pairs)


def label_text(label: Any) -> str:
    """A label that came as JSON, as text: strings stay as they are, numbers and lists keep their JSON form.

    Raises InvalidLabel for half a character (`"\\ud800"`), which no database stores.
    """
    text = label if isinstance(label, str) else json.dumps(label, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidLabel("a label holds half a character (a lone surrogate); send whole ones") from None
    return text


def _decoded(text: bytes) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        raise _invalid(line, "it is not UTF-8; save the manifest as UTF-8") from None


def _csv(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    header = text.lstrip().split("\n", 1)[0]
    delimiter = next((mark for mark in ",;\t" if mark in header), ",")  # spreadsheets write what the locale says
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, restkey="")
    try:
        columns = [(name or "").strip() for name in reader.fieldnames or ()]
        reader.fieldnames = columns
        _check_columns(1, columns)
        for cells in reader:
            if "" in cells or None in cells.values():
                raise _invalid(reader.line_num, f"it does not have {len(columns)} cells as the header has")
            yield reader.line_num, cells
    except csv.Error as error:
        raise _invalid(reader.line_num + 1, f"it cannot be read as CSV ({error})") from None


def _jsonl(text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise _invalid(number, f"it is not JSON ({error}); write one object on each line") from None
        if not isinstance(cells, dict):
            raise _invalid(number, "it is not a JSON object; write one object on each line")
        _check_columns(number, list(cells))
        yield number, cells


def _check_columns(line: int, names: list[str]) -> None:
    if len(set(names)) < len(names):
        raise _invalid(line, f"a column comes twice; {_HOW}")
    if missing := [name for name in REQUIRED if name not in names]:
        raise _invalid(line, f"it has no {missing[0]!r}; {_HOW}")
    if unknown := [name for name in names if name not in REQUIRED + OPTIONAL]:
        raise _invalid(line, f"{unknown[0]!r} is not a column that is known; {_HOW}")


def _row(line: int, cells: dict[str, Any]) -> Row:
    name, label, group = cells["file_name"], cells["label"], cells.get("group")
    if not isinstance(name, str) or not name.strip():
        raise _invalid(line, "its file_name is empty; name a file")
    if label is None:
        raise _invalid(line, "its label is null; give the file a label")
    try:
        return Row(line, name.strip(), label_text(label), _split(line, cells.get("split")), _group(group))
    except InvalidLabel as error:
        raise _invalid(line, error.message) from None


def _split(line: int, split: Any) -> SplitName | None:
    if split is None or split == "":
        return None
    known = SPLITS.get(split.strip().lower()) if isinstance(split, str) else None
    if known is None:
        raise _invalid(line, f"the split {split!r} is not one of train, val, test; leave it empty to let us choose")
    return known


def _group(group: Any) -> str | None:
    return None if group is None or group == "" else label_text(group)


def _invalid(line: int, problem: str) -> InvalidManifest:
    return InvalidManifest(f"line {line}: {problem}", item=f"line {line}")
