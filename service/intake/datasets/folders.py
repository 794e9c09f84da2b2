"""Folders on a disk → their files by name, links followed with care.

A link to a folder counts as the folder, unless it leads in a circle, to nothing, or out of the root: `follow` allows
the last. A name that is not UTF-8 is refused, unless its encoding is given. What is no ordinary file is never opened.
"""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from io import BufferedReader
from pathlib import Path

from adapters.errors import InvalidInput
from adapters.problems import Problems
from service.intake.datasets import lookup, names, passed_over
from service.intake.datasets.archives import Member


@dataclass(slots=True)
class Folder:
    """What lies in a folder: `files` by their names, `folders`, and what is passed over, by name, with the reason."""

    root: Path
    files: dict[str, Path] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)
    passed_over: dict[str, str] = field(default_factory=dict)

    @property
    def understood(self) -> dict[str, str]:
        """Nothing: a disk says how its names are written."""
        return {}

    @property
    def names(self) -> list[str]:
        """Of its files, sorted."""
        return sorted(self.files)

    def members(self, wanted: Sequence[str]) -> list[Member]:
        """Files, each read once and hashed. Blocking. Raises InvalidInput that lists every one that cannot be read."""
        problems, members = Problems(), []
        for name in wanted:
            try:
                members.append(on_disk(name, self.files[name]))
            except InvalidInput as error:
                problems.add(error)
        problems.raise_any()
        return members

    def text(self, name: str, most: int) -> bytes:
        """The bytes of a file that is to be read as text, at most so many. Raises InvalidInput."""
        with opened(self.files[name]) as file:
            return file.read(most)


def read_folder(root: Path, *, follow: bool = False, encoding: str | None = None) -> Folder:
    """Walk a folder. Blocking. Raises InvalidInput that lists every link and name that cannot be used."""
    walk = _Walk(Folder(root), Path(os.path.realpath(root)), follow, encoding)
    walk.enter(root, "", ())
    walk.problems.raise_any()
    return walk.found


def named(folder: Path, wanted: Iterable[str]) -> dict[str, Path]:
    """Files that a manifest in `folder` names, by `names.normal` of it: in any case, and with accents as they come."""
    found, listed = dict[str, Path](), dict[Path, dict[str, list[Path]]]()
    for text in wanted:
        name = os.path.normpath(names.normal(text.strip()))
        places = (_like(folder, place, listed) for place in (name, *lookup.tails(name)))
        if path := next((place for place in places if place is not None), None):
            found[name] = path
    return found


def _like(folder: Path, name: str, listed: dict[Path, dict[str, list[Path]]]) -> Path | None:
    """The file at a path below a folder; where a part of it is not there, the only one that differs in its spelling."""
    path = folder / name
    if path.is_file():
        return path
    at = Path("/") if name.startswith("/") else folder
    for part in Path(name.lstrip("/")).parts:
        if (at / part).exists():
            at = at / part
        elif len(alike := _listing(at, listed).get(names.folded(part), [])) == 1:
            at = alike[0]
        else:
            return None
    return at if at.is_file() else None


def _listing(folder: Path, listed: dict[Path, dict[str, list[Path]]]) -> dict[str, list[Path]]:
    if folder not in listed:
        listed[folder] = {}
        with suppress(OSError):
            for path in folder.iterdir():
                listed[folder].setdefault(names.folded(path.name), []).append(path)
    return listed[folder]


def on_disk(name: str, path: Path) -> Member:
    """A file under a name of ours, read once and hashed. Blocking. Raises InvalidInput."""
    with opened(path) as file:
        digest, size = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    return Member(name, digest, path.read_bytes, size)


@contextmanager
def opened(path: Path) -> Iterator[BufferedReader]:
    """A file to read. Raises InvalidInput with the system's reason where it cannot be."""
    try:
        with path.open("rb") as file:
            yield file
    except OSError as error:
        name = names.shown(str(path))
        raise InvalidInput(f"'{name}' cannot be read: {error.strerror}", item=name) from None


MOST_FILES = 1_000_000
Inode = tuple[int, int]  # device, number


@dataclass(slots=True)
class _Walk:
    """One look at everything below a root."""

    found: Folder
    real_root: Path
    follow: bool
    encoding: str | None
    problems: Problems = field(default_factory=Problems)

    def enter(self, path: Path, name: str, above: tuple[Inode, ...]) -> None:
        """Look into a folder; `above` are those that it lies in."""
        try:
            facts, entries = path.stat(), sorted(os.scandir(path), key=lambda entry: entry.name)
        except OSError as error:
            self._refuse(path, f"it cannot be read: {error.strerror}")
            return
        here = (facts.st_dev, facts.st_ino)
        if len(above) > names.MOST_FOLDERS:
            self._refuse(path, f"it lies in more than {names.MOST_FOLDERS} folders; move it up")
            return
        if here in above:
            self._refuse(path, "it is a link to a folder that it lies in, which has no end; remove it")
            return
        for entry in entries:
            self._entry(Path(entry.path), name, (*above, here))

    def _entry(self, path: Path, folder: str, above: tuple[Inode, ...]) -> None:
        try:
            part = names.decoded(os.fsencode(path.name), self.encoding)
        except UnicodeDecodeError:
            kind = f"of the encoding {self.encoding}" if self.encoding else "UTF-8"
            self._refuse(path, f"its name is not {kind}; rename it, or say how it is written with --archive-encoding")
            return
        name = names.normal(f"{folder}/{part}" if folder else part)
        if reason := self._passed_over(path, name, part):
            self.found.passed_over[name] = reason
        elif path.is_symlink() and (problem := self._bad_link(path)):
            self._refuse(path, problem)
        elif path.is_dir():
            self.found.folders.append(name)
            self.enter(path, name, above)
        else:
            self._add(path, name)

    def _passed_over(self, path: Path, name: str, part: str) -> str | None:
        if passed_over.is_system_folder(part) and path.is_dir():
            return passed_over.IN_SYSTEM_FOLDER
        kind = stat.S_IFMT(path.lstat().st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK):
            return passed_over.NO_FILE
        broken = kind == stat.S_IFLNK and not path.exists()
        return passed_over.reason(name) if broken else None  # editors leave hidden links to nothing

    def _bad_link(self, path: Path) -> str | None:
        target = Path(os.path.realpath(path))
        if not target.exists():
            return "it is a link to nothing; mend it or remove it"
        if not (target.is_dir() or target.is_file()):
            return "it is a link to what is neither a file nor a folder; remove it"
        if not self.follow and not target.is_relative_to(self.real_root):
            return "it is a link out of the folder; put a copy in its place, or allow such links with --follow-links"
        return None

    def _add(self, path: Path, name: str) -> None:
        if name in self.found.files:
            self._refuse(path, "there is another file of that name but for the spelling of accents; rename one")
        elif len(self.found.files) >= MOST_FILES:
            raise InvalidInput(f"the folder has more than {MOST_FILES:,} files; send it in several parts")
        else:
            self.found.files[name] = path

    def _refuse(self, path: Path, problem: str) -> None:
        name = names.shown(os.path.relpath(path, self.found.root))
        self.problems.add(InvalidInput(f"'{name}': {problem}", item=name))
