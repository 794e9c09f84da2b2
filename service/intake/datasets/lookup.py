"""Which file a line of a manifest means, however the path was written on the machine that wrote it."""

import os.path
import re
from collections import defaultdict
from collections.abc import Sequence
from itertools import accumulate, islice, takewhile
from pathlib import PurePosixPath

from service.intake.datasets import names

_ABSOLUTE = re.compile(r"/|[A-Za-z]:/|file:/")


class Lookup:
    """Files by name. A line may leave out folders around everything, differ in case, or give an absolute path."""

    def __init__(self, known: Sequence[str]) -> None:
        self.known = list(known)
        self._exact = set(known)
        self._folded: dict[str, list[str]] = defaultdict(list)
        for name in known:
            self._folded[names.folded(name)].append(name)
        self._around = _around(known)

    def find(self, sent: str, folder: str = "") -> str | None:
        """The one file that is meant; `folder` is where the manifest lies. None where there is none, or several."""
        for text in dict.fromkeys((sent, sent.strip(), names.of_form(sent.strip()))):
            path = names.normal(text)
            places = [path, *(f"{around}/{path}" for around in dict.fromkeys((folder, *self._around)) if around)]
            found = self._first([os.path.normpath(place) for place in places] + tails(path))
            if found is not None:
                return found
        return None

    def _first(self, places: Sequence[str]) -> str | None:
        exact = next((place for place in places if place in self._exact), None)
        if exact is not None:
            return exact
        alike = (self._folded.get(names.folded(place), []) for place in places)
        return next((found[0] for found in alike if len(found) == 1), None)


def _around(known: Sequence[str]) -> list[str]:
    """The folders that everything lies in, outermost first."""
    parents = [PurePosixPath(name).parts[:-1] for name in known]
    levels = takewhile(lambda parts: len(set(parts)) == 1, zip(*parents, strict=False))
    return ["/".join(path) for path in accumulate((parts[0],) for parts in islice(levels, names.MOST_FOLDERS))]


def tails(path: str) -> list[str]:
    """What an absolute path ends with, the longest first: on another machine the same files lie elsewhere."""
    if not _ABSOLUTE.match(path):
        return []
    parts = [part for part in path.split("/") if part]
    return ["/".join(parts[start:]) for start in range(max(1, len(parts) - names.MOST_FOLDERS), len(parts))]
