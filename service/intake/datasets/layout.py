"""Folders → labels and splits: what the path of each file says, or why it is not clear.

    <class>/<file>                 one folder a class
    <split>/<class>/<file>         the caller's own split; how splits may be spelled: manifests.split_name

Folders around all of it are left out where they are clearly that: called as the archive or folder they came in, by a
word for a collection (PLAIN_WORDS), or with nothing but split folders in them. Otherwise `cat/indoor/1.jpg` would be
either of a class `cat` or of a class `indoor`, and nobody can tell.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from adapters.errors import InvalidInput
from adapters.problems import Problems
from adapters.types import SplitName
from service.intake.datasets.manifests import split_name
from service.intake.datasets.names import MOST_SHOWN, brief

LAYOUT = "the layout is <class>/<file> or train|val|test/<class>/<file>"
PLAIN_WORDS = frozenset(
    "data dataset datasets set sets image images img imgs photo photos picture pictures pic pics sample samples class"
    " classes category categories label labels labeled labelled file files folder folders upload uploads archive export"
    " exports download downloads input inputs raw example examples collection corpus root content".split()
)
MOST_AROUND = 10  # folders around everything
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


@dataclass(frozen=True, slots=True)
class Layout:
    """What folders were taken to mean: (label, split) of each name, in order."""

    root: str  # the folders around everything, with their slash, or nothing
    kind: str  # for people
    places: list[tuple[str, SplitName | None]]
    splits: dict[str, SplitName]  # folder → the split that it was taken for


@dataclass(frozen=True, slots=True)
class Hints:
    """What else tells a class from a folder around classes."""

    container: str = ""  # the archive or folder that the files came in, without its suffix
    classes: frozenset[str] = frozenset()  # that the head has already
    at_root: bool = False  # the caller has said where classes or splits begin
    lenient: bool = False  # files that are no inputs are passed over, not refused
    modality: str | None = None  # that the head reads, where it is there already


def by_folder(names: Sequence[str], error: type[InvalidInput], hints: Hints = Hints()) -> Layout:
    """The layout of files with these names.

    Raises `error`, listing every file that does not fit in.
    """
    root = "" if hints.at_root else _root(names, error, hints)
    folders = [PurePosixPath(name.removeprefix(root)).parts[:-1] for name in names]
    splits = _splits(folders, error)
    problems, places = Problems(), []
    for name, parts in zip(names, folders, strict=True):
        classes = parts[1:] if splits and parts else parts
        if len(classes) == 1:
            places.append((classes[0], splits[parts[0]] if splits else None))
        else:
            problems.add(_misplaced(name.removeprefix(root), bool(classes), error))
    problems.raise_any()
    kind = "split folders, one folder a class in each" if splits else "one folder a class"
    return Layout(root, kind, places, splits)


def _misplaced(name: str, deep: bool, error: type[InvalidInput]) -> InvalidInput:
    problem = "lies too deep" if deep else "lies in no class folder"
    return error(f"{brief(name)} {problem}; {LAYOUT}, or send a manifest", item=name[:MOST_SHOWN])


def _root(names: Sequence[str], error: type[InvalidInput], hints: Hints) -> str:
    """The folders around everything that mean nothing, with their slash. Raises `error` where it is not clear."""
    root = ""
    for _ in range(MOST_AROUND):
        parts = [PurePosixPath(name.removeprefix(root)).parts for name in names]
        tops = {p[0] for p in parts}
        if len(tops) != 1 or any(len(p) < 3 for p in parts) or split_name(top := tops.pop()):
            return root
        below = sorted({p[1] for p in parts})
        if top in hints.classes or not (_is_wrapper(top, below, hints) or all(map(split_name, below))):
            raise _unclear(root, top, below, error)
        root += top + "/"
    return root


def _is_wrapper(name: str, below: list[str], hints: Hints) -> bool:
    """Whether a folder around everything is no more than that; a class may be called anything else."""
    named_so = bool(hints.container) and _plain(name) == _plain(hints.container)
    words = {word.lower() for word in _WORD.findall(name)}
    return named_so or bool(words & PLAIN_WORDS) or (bool(hints.classes) and hints.classes.issuperset(below))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold())


def _unclear(root: str, top: str, below: list[str], error: type[InvalidInput]) -> InvalidInput:
    some = ", ".join(map(brief, below[:5])) + (" and others" if len(below) > 5 else "")
    here = (root + top)[:MOST_SHOWN]
    return error(
        f"everything lies in the folder {brief(here)} and in folders below it ({some}), so that either may be the "
        f"classes: if those below are, send root={here}; if {brief(top)} is a class, put its files right into it",
        item=here,
    )


def _splits(folders: Sequence[tuple[str, ...]], error: type[InvalidInput]) -> dict[str, SplitName]:
    """Folder → split, for the top folders; empty where they are classes. Raises `error` where some are and some not."""
    tops = {parts[0] for parts in folders if parts}
    known = {top: split for top in sorted(tops) if (split := split_name(top))}
    deep = {parts[0] for parts in folders if len(parts) > 1}
    if not known or (not deep & set(known) and len(known) < len(tops)):
        return {}  # `valid` and `invalid` are two classes
    problems = Problems()
    for other in sorted(tops - set(known)):
        hint = f"split folders and class folders are not mixed; {LAYOUT}, or send a manifest"
        beside = f"stands beside the split folder {brief(next(iter(known)))} and is neither train, val nor test"
        problems.add(error(f"the folder {brief(other)} {beside}: {hint}", item=other[:MOST_SHOWN]))
    problems.raise_any()
    return known
