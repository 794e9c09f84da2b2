"""Which inputs the cells of a table name: by path or by name, with a suffix or without, in any case."""

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from service.intake.datasets import names

MOST_NAME = 1000  # characters of a cell that may name a file
_STRING = re.compile(r'"([^"\n]{1,300})"|>([^<>\n]{1,300})<')  # of JSON, of XML
_KEY = re.compile(r'"([A-Za-z_]{1,40})"\s{0,3}:|([A-Za-z_]{1,40})="|<([A-Za-z_]{1,40})')


class Index:
    """Inputs by what a table may call them: their path, their name, and these without a suffix, in any case."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.count = len(inputs)
        self.suffixes = {PurePosixPath(name).suffix.lower() for name in inputs} - {""}
        self._by_key: dict[str, set[str]] = defaultdict(set)
        for name in inputs:
            path = PurePosixPath(names.folded(name))
            for key in (str(path), path.name, str(path.with_suffix("")), path.stem):
                self._by_key[key].add(name)

    def find(self, cell: Any, bare: bool = False) -> str | None:
        """The input that a cell names; `bare`: also without its suffix, where a number may as well be anything else."""
        text = str(cell) if bare and isinstance(cell, int) else cell
        if not isinstance(text, str) or not 0 < len(text.strip()) <= MOST_NAME:
            return None
        path = PurePosixPath(names.folded(names.normal(text.strip())))
        if not bare and not path.suffix:
            return None
        first = max(0, len(path.parts) - names.MOST_FOLDERS)
        for start in range(first, len(path.parts)):  # an absolute path, or one with folders around it, ends as ours
            key = "/".join(path.parts[start:])
            if len(found := self._by_key.get(key, ())) == 1:
                return next(iter(found))
        return None

    def column(self, rows: Sequence[Sequence[Any]], bare: bool = False) -> int | None:
        """The column that names inputs, the one with the most where there are several; None where none does."""
        width = min(map(len, rows), default=0)
        counts = {c: sum(self.find(row[c], bare) is not None for row in rows) for c in range(width)}
        best = max(counts, key=lambda c: counts[c], default=None)
        return best if best is not None and counts[best] else None

    def are_most(self, named: int, of: int) -> bool:
        """Whether so many inputs, of a table of so many rows, are most of those that it could name."""
        return 2 * named > min(self.count, of)


def looked_through(text: str, index: Index) -> tuple[dict[str, set[str]], set[str]]:
    """Of JSON too large to be read, or XML: the inputs that it names, if they are most, and the names of its fields."""
    strings = [found[1] or found[2] for found in _STRING.finditer(text)]
    named = {one for string in strings if (one := index.find(string))}
    files = sum(PurePosixPath(one).suffix.lower() in index.suffixes for one in strings)
    keys = {next(filter(None, found.groups())) for found in _KEY.finditer(text)}
    return ({one: set() for one in named} if index.are_most(len(named), files) else {}), keys
