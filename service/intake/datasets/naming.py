"""Which inputs the cells of a table name: by path or by name, with a suffix or without, in any case."""

import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from service.intake.datasets import names

SAMPLED = 100  # rows, at most, that tell which column names inputs
MOST_NAME = 1000  # characters of a cell that may name a file
MOST_STRINGS = 100_000  # of a text that is looked through
_STRING = re.compile(r'"([^"\n]{1,300})"|>([^<>\n]{1,300})<')  # of JSON, of XML


class Index:
    """Inputs by what a table may call them: their path, their name, and these without a suffix, in any case."""

    def __init__(self, inputs: Sequence[str]) -> None:
        self.count = len(inputs)
        self.suffixes = tuple({PurePosixPath(name).suffix.lower() for name in inputs} - {""})
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
        width, some = min(map(len, rows), default=0), rows[:: len(rows) // SAMPLED + 1]
        counts = {c: sum(self.find(row[c], bare) is not None for row in some) for c in range(width)}
        best = max(counts, key=lambda c: counts[c], default=None)
        return best if best is not None and counts[best] else None

    def are_most(self, named: int, of: int) -> bool:
        """Whether so many inputs, of a table of so many rows, are most of those that it could name."""
        return 2 * named > min(self.count, of)


def looked_through(text: str, index: Index) -> dict[str, set[str]]:
    """Of JSON too large to be read, or XML: the inputs that it names, if they are most; not what it says of them."""
    strings = (found[1] or found[2] for found in islice(_STRING.finditer(text), MOST_STRINGS))
    files = [one for one in strings if one.lower().endswith(index.suffixes)]
    named = {one for string in files if (one := index.find(string))}
    return {one: set() for one in named} if index.are_most(len(named), len(files)) else {}
