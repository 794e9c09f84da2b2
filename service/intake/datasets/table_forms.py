"""What a file beside inputs may be a table of, whatever its form: rows of CSV, or of JSON and YAML in any shape.

Only to see what it is, so nothing here raises: what cannot be read gives no table.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from adapters.errors import InvalidManifest
from service.intake.datasets import plain_yaml, tables
from service.limits import json_text

MOST_ROWS = 2000
MOST_COLUMNS = 200
MOST_BRANCHES = 50  # of an object or a list that are looked into one by one
MOST_DEEP = 8  # objects and lists inside one another
MOST_VALUES = 250_000  # of JSON
MOST_CHARACTERS = 1 << 20  # of a text that is read as what it is; more is only looked through
MOST_SKIPPED = 20  # lines before the first that looks like a row: titles, counts
YAML, XML = frozenset({".yaml", ".yml"}), ".xml"
OTHER_JSON, OTHER_YAML = "it is JSON in another form than one object for each file", "it is YAML"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that may be about inputs."""

    header: list[str] | None  # None: it may be one of the rows, or none
    rows: list[list[Any]]
    problem: str = ""  # why it is no manifest, whatever its columns are called; "" where it may be one


def tables_of(text: str, suffix: str) -> Iterator[Table]:
    """The tables that a text may be, the plainest first."""
    text = text[:MOST_CHARACTERS]
    if suffix in YAML:
        yield from _nested(plain_yaml.tree(text), OTHER_YAML)
    elif tables.is_json(text):
        yield from _of_objects(text)
        yield from _nested(_json(text), OTHER_JSON)
    elif suffix != XML:
        yield from _of_csv(text)


def _of_csv(text: str) -> Iterator[Table]:
    """Rows of more than one cell, separated as the first line with any separator is; by spaces where none has."""
    lines = text.lstrip("\ufeff\r\n").splitlines(keepends=True)
    first = next((n for n, line in enumerate(lines[:MOST_SKIPPED]) if any(m in line for m in tables.DELIMITERS)), None)
    marks = " " if first is None else tables.DELIMITERS
    rows: list[list[Any]] = []
    with suppress(InvalidManifest):  # what could be read up to there says enough
        rows.extend([*cells] for _, cells in islice(tables.rows("".join(lines[first or 0 :]), marks), MOST_ROWS))
    if first is None:
        rows = [[cell for cell in row if cell] for row in rows]
    yield Table(None, [row[:MOST_COLUMNS] for row in rows if len(row) > 1])


def _of_objects(text: str) -> Iterator[Table]:
    """One object a line, or a list of objects: as a manifest is written."""
    found = [o for _, o in islice(tables.objects(text), MOST_ROWS) if isinstance(o, dict) and o]
    if found:
        header = list(found[0])
        yield Table(header, [[row.get(key) for key in header] for row in found])
        yield _records(map(_flat, found), OTHER_JSON)


def _json(text: str) -> Any:
    with suppress(ValueError):
        return json_text.loads(text, MOST_VALUES)
    return None


def _nested(node: Any, problem: str, depth: int = 0) -> Iterator[Table]:
    """Every list and object of a tree that may be a table."""
    if depth > MOST_DEEP or not isinstance(node, dict | list) or not node:
        return
    if isinstance(node, dict):
        yield from _of_object(node, problem)
    else:
        yield from _of_list(node, problem)
    if len(node) <= MOST_BRANCHES:  # what has more is a table itself, or none
        for inside in node.values() if isinstance(node, dict) else node:
            yield from _nested(inside, problem, depth + 1)


def _of_object(node: Mapping[str, Any], problem: str) -> Iterator[Table]:
    """`{file: label}`, `{file: {…}}`, `{label: [files]}`, `{column: [cells]}`, and COCO's images with annotations."""
    if isinstance(node.get("images"), list) and isinstance(node.get("annotations"), list):
        yield Table(["", "category"], _coco(node), problem)
    lists = {key: _plain(value) for key, value in node.items() if isinstance(value, list)}
    yield Table(["", ""], [[one, key] for key, ones in lists.items() for one in ones][:MOST_ROWS], problem)
    columns = {k: [*v.values()] if isinstance(v, dict) else v for k, v in node.items() if isinstance(v, dict | list)}
    if len({*map(len, columns.values())}) == 1 < len(columns):
        cells = zip(*columns.values(), strict=True)
        yield Table(list(columns), [[*row] for row in islice(cells, MOST_ROWS)], problem)
    yield _records(({"": key} | _flat(value, "value") for key, value in node.items()), problem)


def _of_list(node: Sequence[Any], problem: str) -> Iterator[Table]:
    """`[{…}, …]`, `[[file, label], …]`, `[{label: …, files: […]}, …]`."""
    objects = [one for one in node if isinstance(one, dict)]
    if objects:
        yield _records(map(_flat, objects), problem)
        yield _records(({"": one} | _flat(o) for o in objects for v in o.values() for one in _plain(v)), problem)
    pairs = [_plain(one) for one in node if isinstance(one, list)]
    yield Table([""] * min(map(len, pairs), default=0), [pair for pair in pairs if len(pair) > 1][:MOST_ROWS], problem)


def _records(found: Iterable[Mapping[str, Any]], problem: str) -> Table:
    """Flat objects as rows under all of their keys."""
    rows = [*islice(found, MOST_ROWS)]
    header = [*islice(dict.fromkeys(key for row in rows for key in row), MOST_COLUMNS)]
    return Table(header, [[row.get(key) for key in header] for row in rows], problem)


def _plain(value: Any) -> list[Any]:
    """The plain values of a list."""
    return [one for one in value if not isinstance(one, dict | list)] if isinstance(value, list) else []


def _flat(value: Any, name: str = "", depth: int = 0) -> dict[str, Any]:
    """What is inside of an object, by its path in it; several values of one path are joined."""
    if not isinstance(value, dict | list):
        return {name: value}
    inner = value.items() if isinstance(value, dict) else (("", one) for one in value)
    found: dict[str, Any] = {}
    for key, one in islice(inner, MOST_COLUMNS) if depth < MOST_DEEP else ():
        for path, cell in _flat(one, f"{name}.{key}".strip("."), depth + 1).items():
            found[path] = f"{found[path]}, {cell}" if path in found else cell
    return found


def _coco(node: Mapping[str, Any]) -> list[list[Any]]:
    """(file, category) of every annotation."""
    files = {str(o.get("id")): o.get("file_name") for o in node["images"] if isinstance(o, dict)}
    listed = node.get("categories")
    known = listed if isinstance(listed, list) else []
    categories = {str(o.get("id")): o.get("name") for o in known if isinstance(o, dict)}
    told = [o for o in node["annotations"] if isinstance(o, dict)]
    pairs = ((str(o.get("image_id")), str(o.get("category_id"))) for o in told)
    return [[files[one], categories.get(which, which)] for one, which in pairs if one in files][:MOST_ROWS]
