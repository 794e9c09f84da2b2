"""Tables that came with inputs and are not called manifests: labels that nobody should overlook.

A table with a column for the file and one for the label is the manifest, whatever it is called. One that labels inputs
of this upload in another form is refused, as is one that lies elsewhere, unless it says what the folders say.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from adapters.errors import InvalidManifest
from service.intake.datasets import names, tables
from service.intake.datasets.manifests import columns

MANIFEST_NAMES = frozenset(f"manifest{suffix}" for suffix in (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json"))
SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json"})
MOST_TABLES = 50  # of an upload that are looked into
MOST_BYTES = 1 << 20  # of one: enough to see what it is
MOST_ROWS = 1000
MOST_NAME = 1000  # characters of a cell that may name a file
_TRUE = {"1", "1.0", "true"}
_FLAGS = {*_TRUE, "0", "0.0", "false", ""}
_HOW = "a manifest has the columns file_name and label; make it one, or leave it out"


def is_manifest(name: str) -> bool:
    """Whether a file is called as a manifest is, in any case."""
    return PurePosixPath(name).name.lower() in MANIFEST_NAMES


def is_table(name: str) -> bool:
    """Whether a file may be a table, by its name."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def manifest_among(
    found: Iterable[str], read: Callable[[str], bytes], inputs: Sequence[str], said: Mapping[str, str] | None
) -> str | None:
    """Which of the tables `found` is the manifest; `said` are the labels by folder, where folders are clear.

    Raises InvalidManifest for a table that labels these inputs and cannot be used, and where there is more than one.
    """
    if not (candidates := sorted(found)[:MOST_TABLES]):
        return None
    index, manifests = _Index(inputs), []
    for name in candidates:
        table = _table(read(name)[:MOST_BYTES])
        claims = table and table.claims(index)
        if not claims or (said is not None and claims.agree_with(said)):
            continue
        if not claims.is_manifest:
            raise InvalidManifest(
                f"{names.brief(name)} labels files that came with it, but {claims.problem}; {_HOW}", item=name
            )
        manifests.append(name)
    if len(manifests) > 1:
        several = ", ".join(manifests[:5])
        raise InvalidManifest(f"there is more than one manifest ({several}); keep one", item=manifests[1])
    return manifests[0] if manifests else None


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a table says of the inputs that it names."""

    labels: dict[str, set[str]]  # input → its labels
    problem: str  # why it is no manifest; "" for one

    @property
    def is_manifest(self) -> bool:
        return not self.problem

    def agree_with(self, said: Mapping[str, str]) -> bool:
        """Whether they are what the folders say, and there are any."""
        return bool(self.labels) and all({said.get(one)} == labels for one, labels in self.labels.items())


class _Index:
    """Inputs by what a table may call them: their path, their name, and these without a suffix, in any case."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self._by_key: dict[str, set[str]] = defaultdict(set)
        for name in inputs:
            path = PurePosixPath(names.folded(name))
            for key in (str(path), path.name, str(path.with_suffix("")), path.stem):
                self._by_key[key].add(name)

    def find(self, text: Any, bare: bool = False) -> str | None:
        """The input that a cell names; `bare`: also without its suffix, where a number may as well be anything else."""
        if not isinstance(text, str) or not 0 < len(text.strip()) <= MOST_NAME:
            return None
        path = PurePosixPath(names.folded(names.normal(text.strip())))
        if not bare and not path.suffix:
            return None
        for start in range(
            max(0, len(path.parts) - names.MOST_FOLDERS), len(path.parts)
        ):  # an absolute path, or one with folders around it, ends as ours does
            key = "/".join(path.parts[start:])
            if len(found := self._by_key.get(key, ())) == 1:
                return next(iter(found))
        return None


@dataclass(frozen=True, slots=True)
class _Table:
    """The first rows of a table, the very first taken for a header."""

    header: list[str]
    rows: list[list[Any]]

    def claims(self, index: _Index) -> _Claims | None:
        """What it says of inputs; None where it names none, or gives them no label."""
        known = columns([str(name) for name in self.header])
        if {"file_name", "label"} <= set(known) and len(set(known)) == len(known):
            return self._manifest(index, known)
        if any(map(index.find, self.header)):
            return _bare_list(index, [self.header, *self.rows])
        bare = "label" in known  # of `id,label`, an id may be a name without its suffix
        file = _first(c for c in range(len(known)) if any(index.find(row[c], bare) for row in self.rows[:20]))
        return None if file is None else self._other(index, known, file)

    def _manifest(self, index: _Index, known: list[str]) -> _Claims | None:
        found = _pairs(index, self.rows, known.index("file_name"), known.index("label"))
        certain = {"file_name", "label"} <= {str(name).strip().lower() for name in self.header}
        return _Claims(found, "") if found or certain else None

    def _other(self, index: _Index, known: list[str], file: int) -> _Claims | None:
        """Of a table with a header that is no manifest's, whose column `file` names inputs."""
        others = [c for c in range(len(known)) if c != file]
        if "label" in known:
            return _Claims(_pairs(index, self.rows, file, known.index("label")), "no column of it is called file_name")
        if len(others) > 1 and all(_is_flag(row[c]) for row in self.rows for c in others):
            return _Claims(_flagged(index, self, file, others), "it has a column for each class")
        if len(others) == 1 and _is_repetitive([str(row[others[0]]) for row in self.rows]):
            return _Claims(_pairs(index, self.rows, file, others[0]), "no column of it is called label")
        return None


def _bare_list(index: _Index, rows: list[list[Any]]) -> _Claims | None:
    """Of lines without a header: `1.jpg cat`."""
    file = _first(c for c in range(len(rows[0])) if index.find(rows[0][c]))
    if file is None or len(rows[0]) != 2:
        return None
    return _Claims(_pairs(index, rows, file, 1 - file), "it has no header")


def _flagged(index: _Index, table: _Table, file: int, others: list[int]) -> dict[str, set[str]]:
    return {
        one: {table.header[c].strip() for c in others if str(row[c]).strip().lower() in _TRUE}
        for row in table.rows
        if (one := index.find(row[file]))
    }


def _pairs(index: _Index, rows: list[list[Any]], file: int, label: int) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for row in rows:
        if one := index.find(row[file], bare=True):
            found.setdefault(one, set()).add(str(row[label]).strip())
    return found


def _table(raw: bytes) -> _Table | None:
    """The first rows of what may be a table, whatever its encoding: only to see what it is; None for what is none."""
    try:
        text = tables.decoded(raw)
    except InvalidManifest:
        text = raw.decode("latin-1")
    try:
        return _of_json(text) if tables.is_json(text) else _of_csv(text)
    except InvalidManifest:
        return None


def _of_csv(text: str) -> _Table | None:
    header = text.lstrip().partition("\n")[0]
    marks = tables.DELIMITERS if any(mark in header for mark in tables.DELIMITERS) else " "
    rows: list[list[Any]] = []
    with suppress(InvalidManifest):  # what could be read up to there says enough
        rows.extend([*cells] for _, cells in islice(tables.rows(text, marks), MOST_ROWS))
    width = len(rows[0]) if rows else 0
    return _Table(rows[0], [row for row in rows[1:] if len(row) >= width]) if width > 1 else None


def _of_json(text: str) -> _Table | None:
    found = [o for _, o in islice(tables.objects(text), MOST_ROWS) if isinstance(o, dict) and o]
    if not found:
        return None
    header = list(found[0])
    if len(found) == 1 and not {"file_name", "label"} <= set(columns(header)):
        return _Table(["", ""], [[name, label] for name, label in found[0].items()])  # {"1.jpg": "cat", …}
    return _Table(header, [[row.get(key) for key in header] for row in found])


def _is_flag(cell: Any) -> bool:
    return str(cell).strip().lower() in _FLAGS


def _is_repetitive(cells: list[str]) -> bool:
    """Words that come again and again are classes; numbers and texts of their own are not."""
    words = [cell for cell in cells if not re.fullmatch(r"[-+]?[0-9]*+\.?[0-9]*+", cell.strip())]
    return len(words) > len(cells) // 2 and 2 * len(set(words)) <= len(words)


def _first(found: Iterator[int]) -> int | None:
    return next(found, None)
