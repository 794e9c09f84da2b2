"""Tables that came with inputs and are not called manifests: labels that nobody should overlook.

A table with a column for the file and one for the label is the manifest, whatever it is called. One that labels inputs
of this upload in another form (bare names, one column a class, any JSON or YAML) is refused, as is one that lies
elsewhere, unless it says what the folders say. One that is about files but gives them no label is passed over.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from adapters.errors import InvalidManifest
from service.intake.datasets import given_values, names, table_forms, tables
from service.intake.datasets.manifests import columns
from service.intake.datasets.naming import Index, looked_through
from service.intake.datasets.table_forms import Table

MANIFEST_NAMES = frozenset(f"manifest{suffix}" for suffix in (".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json"))
SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".jsonl", ".ndjson", ".json"})
TREES = frozenset({".json", table_forms.XML})
LOOKED_INTO = SUFFIXES | table_forms.YAML | TREES | {".md", ".rst", ".log"}  # that may hold labels, too
MOST_TABLES = 50  # of an upload that are looked into
MOST_FORMS = 300  # tables that one file may be: of JSON, each list and object in it
MOST_BYTES, MOST_TREE = 1 << 20, 8 << 20  # of one: enough to see what it is; of JSON and XML, whose labels may be last
MOST_TOGETHER = 16 << 20  # of all of them: what is hostile costs 0.6 s of a thread a MiB
_TRUE = {"1", "1.0", "true", "yes"}
_FLAGS = {*_TRUE, "0", "0.0", "-1", "-1.0", "false", "no", ""}
_HOW = (
    "make it labels.csv or manifest.csv with the columns file_name (with suffixes) and label, send that as `manifest`, "
    "or leave it out"
)
NO_HEADER, NO_FILE = "it has no header", "no column of it is called file_name"
UNREAD = "it is a large file of JSON, or XML, with labels in it"
NO_LABEL, FLAGS = "no column of it is called label", "it has a column for each class"


def is_manifest(name: str) -> bool:
    """Whether a file is called as a manifest is, in any case."""
    return PurePosixPath(name).name.lower() in MANIFEST_NAMES


def may_be_table(name: str) -> bool:
    """Whether a file may hold labels in any form, by its name."""
    return PurePosixPath(name).suffix.lower() in LOOKED_INTO


def most_bytes(name: str) -> int:
    """Of a file that are looked at."""
    return MOST_TREE if PurePosixPath(name).suffix.lower() in TREES else MOST_BYTES


def is_table(name: str) -> bool:
    """Whether a file may be a table, by its name."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def manifest_among(
    found: Iterable[str], read: Callable[[str], bytes], inputs: Sequence[str], said: Mapping[str, str] | None
) -> str | None:
    """Which of the tables `found` is the manifest; `said` are the labels by folder, where folders are clear.

    Raises InvalidManifest for a table that labels these inputs and cannot be used, and where there is more than one.
    """
    if not (candidates := _in_order(found, inputs)[:MOST_TABLES]):
        return None
    index, manifests, looked_at = Index(inputs), [], 0
    for name in candidates:
        raw = read(name) if looked_at < MOST_TOGETHER else b""
        looked_at += len(raw)
        claims = _of_file(raw, PurePosixPath(name).suffix.lower(), index)
        if not claims or (said is not None and any(one.agree_with(said) for one in claims)):
            continue
        if not (first := claims[0]).is_manifest:
            raise InvalidManifest(
                f"{names.brief(name)} labels files that came with it, but {first.problem}; {_HOW}", item=name
            )
        manifests.append(name)
    if len(manifests) > 1:
        several = ", ".join(manifests[:5])
        raise InvalidManifest(f"there is more than one manifest ({several}); keep one", item=manifests[1])
    return manifests[0] if manifests else None


def _in_order(found: Iterable[str], inputs: Sequence[str]) -> list[str]:
    """The outermost first, and what is beside one input and called as it is (`1.jpg.json`, `1.txt`) last."""
    alone = {name for one in inputs for name in (one.lower(), str(PurePosixPath(one).with_suffix("")).lower())}

    def key(name: str) -> tuple[bool, int, str]:
        return str(PurePosixPath(name).with_suffix("")).lower() in alone, name.count("/"), name

    return sorted(found, key=key)


@dataclass(frozen=True, slots=True)
class _Claims:
    """What a table says of the inputs that it names."""

    labels: dict[str, set[str]]  # input → its labels
    problem: str  # why it is no manifest; "" for one

    @property
    def is_manifest(self) -> bool:
        return not self.problem

    def agree_with(self, said: Mapping[str, str]) -> bool:
        """Whether they are what the folders say, or numbers in their place, and there are any."""
        if not self.labels or any(len(labels) != 1 for labels in self.labels.values()):
            return False
        pairs = {(said.get(one, ""), *labels) for one, labels in self.labels.items()}
        if all(names.folded(pair[0]) == names.folded(pair[1]) for pair in pairs):
            return True
        numbered = bool(self.problem) and all(given_values.is_number(pair[1]) for pair in pairs)
        return numbered and len(pairs) == len({pair[0] for pair in pairs}) == len({pair[1] for pair in pairs}) > 1


def _of_file(raw: bytes, suffix: str, index: Index) -> list[_Claims]:
    """What a file says of inputs, whatever its form and its encoding."""
    try:
        text = tables.decoded(raw)
    except InvalidManifest:
        text = raw.decode("latin-1")
    found = [table for table in islice(table_forms.tables_of(text, suffix), MOST_FORMS) if table.rows]
    if not found and suffix in TREES:
        labels = looked_through(text, index) if given_values.has_label_field(text) else {}
        return [_Claims(labels, UNREAD)] if labels else []
    return [one for table in found for one in _claims(table, index)]


def _claims(table: Table, index: Index) -> Iterator[_Claims]:
    """What a table says of inputs, for each of its columns that may be labels; nothing where it names none."""
    if table.header is None:
        table = _with_header(table, index)
    header = [str(name) for name in table.header or ()]
    known = columns(header)
    if not table.problem and {"file_name", "label"} <= set(known) and len(set(known)) == len(known):
        yield from _manifest(table, index, header, known)
        return
    bare = (file := index.column(table.rows)) is None
    if file is None and (file := index.column(table.rows, bare=True)) is None:
        return
    pairs = [(one, row) for row in table.rows if (one := index.find(row[file], bare=True))]
    yield from _other(table, index, known, file, pairs, bare)


def _with_header(table: Table, index: Index) -> Table:
    """Of rows of which the first may be a header: what lies above the first row that names an input is one."""
    named = (n for n, row in enumerate(table.rows[: table_forms.MOST_SKIPPED]) if any(map(index.find, row)))
    first = next(named, 1)
    width, above = len(table.rows[min(first, len(table.rows) - 1)]), table.rows[first - 1] if first else []
    rows = [row for row in table.rows[first:] if len(row) >= width]
    if len(above) == width - 1:  # as pandas and CelebA leave the first column without a name
        above = ["", *above]
    header = above if len(above) == width else [""] * width
    return Table(header, rows, "" if any(header) else NO_HEADER)


def _manifest(table: Table, index: Index, header: list[str], known: list[str]) -> Iterator[_Claims]:
    file, label = known.index("file_name"), known.index("label")
    found = _labels([(one, row) for row in table.rows if (one := index.find(row[file], bare=True))], label)
    if found or {"file_name", "label"} <= {name.strip().lower() for name in header}:
        yield _Claims(found, "")


def _other(
    table: Table, index: Index, known: list[str], file: int, pairs: list[tuple[str, list[Any]]], bare: bool
) -> Iterator[_Claims]:
    """Of a table that is no manifest and names inputs in the column `file`, or without their suffixes (`bare`)."""
    most = index.are_most(len({one for one, _ in pairs}), len(table.rows))
    if "label" in known and not table.problem:
        yield _Claims(_labels(pairs, known.index("label")), NO_FILE)
        return
    if not most and (bare or 2 * len(pairs) <= len(table.rows)):
        return
    cells = {c: [_text(row[c]) for _, row in pairs] for c in range(len(known)) if c != file}
    strict = given_values.is_of_cameras(known)
    flags = [] if strict else [c for c, column in cells.items() if {one.lower() for one in column} <= _FLAGS]
    if len(flags) > 1 and any(_TRUE & {one.lower() for one in cells[c]} for c in flags):
        yield _Claims(_flagged(pairs, known, flags), table.problem or FLAGS)
    left = [c for c, column in cells.items() if len(set(column)) > 1 and not given_values.is_about(known[c], column)]
    for c in left:
        if given_values.is_label(known[c], cells[c], alone=len(left) == 1, strict=strict):
            yield _Claims(_labels(pairs, c), table.problem or NO_LABEL)


def _flagged(pairs: list[tuple[str, list[Any]]], known: list[str], flags: list[int]) -> dict[str, set[str]]:
    return {one: {known[c].strip() for c in flags if _text(row[c]).lower() in _TRUE} for one, row in pairs}


def _labels(pairs: list[tuple[str, list[Any]]], label: int) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for one, row in pairs:
        found.setdefault(one, set()).add(_text(row[label]))
    return found


def _text(cell: Any) -> str:
    return "" if cell is None else str(cell).strip()
