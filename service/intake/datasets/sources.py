"""Labeled uploads → items: inputs with labels, a zip or a folder with one folder per class, or a manifest.

Layouts, in a zip and on disk alike:

    <class>/<file>                      one folder per class
    train|val|test/<class>/<file>       the caller's own split (layout.py: how splits may be spelled)
    manifest.csv or manifest.jsonl      above the files; then folders mean nothing (manifests.py: the columns)

Which modality the files are of, kinds.py says. What is passed over, and why, is said with the items (passed_over.py).
Any other file that is none, by its name and by its bytes, is an error: leaving it out quietly would train on less than
the caller thinks. Labels stay text here: what a label means is the task's to say.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from adapters import modalities
from adapters.errors import InvalidArchive, InvalidInput, InvalidLabel, InvalidManifest
from adapters.labels import MISSING
from adapters.problems import Problems
from adapters.types import ORIGINAL
from service.intake.datasets import arrangement, folders, kinds, manifests, names, other_tables
from service.intake.datasets.archives import Archive, Limits
from service.intake.datasets.arrangement import Received, arranged, looked_up, of_texts
from service.intake.datasets.items import Item, Source, called, item
from service.intake.datasets.layout import Hints
from service.intake.datasets.lookup import Lookup
from service.limits import json_text

MAX_VALUES = 500_000  # in a JSON array of labels, which may be lists or objects themselves

__all__ = ["Item", "Limits", "Received", "Source", "from_archive", "from_folder", "from_labels", "from_manifest"]
__all__ += ["from_path", "of_texts", "parse_labels"]


def parse_labels(sent: Sequence[str], noun: str = "input") -> list[str]:
    """Labels sent as repeated fields, or all in one field as a JSON array. Raises InvalidInput."""
    if len(sent) != 1 or not sent[0].lstrip().startswith("["):
        return _as_sent(sent, noun)
    try:
        labels = json_text.loads(sent[0], MAX_VALUES)
    except json_text.Twice as error:
        raise InvalidInput(f"in labels {error}", item=error.name) from None
    except ValueError as error:
        raise InvalidInput(f"labels starts like a JSON array but is none ({error})") from None
    problems, found = Problems(), []
    for index, label in enumerate(labels):
        try:
            found.append(manifests.label_text(label))
        except InvalidInput as error:
            problems.add(type(error)(f"{noun} {index}: {error.message}", item=f"{noun} {index}"))
    problems.raise_any()
    return found


def _as_sent(sent: Sequence[str], noun: str) -> list[str]:
    """Labels as fields of their own. Raises InvalidLabel that lists every one which stands for a missing value."""
    problems = Problems()
    for index, label in enumerate(sent):
        if label.strip() in MISSING:
            name = f"{noun} {index}"
            problems.add(InvalidLabel(f"{name}: its label is {label.strip()!r}, {manifests.NO_VALUE}", item=name))
    problems.raise_any()
    return list(sent)


def from_labels(files: Sequence[Source], labels: Sequence[str], modality: str = ORIGINAL) -> Received:
    """Inputs and their labels in the same order. Raises InvalidInput when their numbers differ."""
    noun = modalities.get(modality).NOUN
    if not files:
        raise InvalidInput(f"no {noun}s were sent; send them as the field '{modalities.get(modality).FIELD}'")
    if len(files) > len(labels):
        name = called(len(labels), files[len(labels)].file_name, noun)
        raise InvalidInput(
            f"{len(files)} {noun}s came with {len(labels)} labels; {name} has none: send one label per {noun}, in"
            " order",
            item=name,
        )
    if len(labels) > len(files):
        extra = labels[len(files)][:50]
        raise InvalidInput(
            f"{len(files)} {noun}s came with {len(labels)} labels; label {len(files)} ({extra!r}) has no {noun}:"
            f" send one label per {noun}, in order"
        )
    items = [item(file, _form_name(file), label) for file, label in zip(files, labels, strict=True)]
    return Received(items, {"layout": f"labels in the order of the {noun}s"}, modality=modality)


def from_manifest(text: bytes | memoryview, files: Sequence[Source], modality: str = ORIGINAL) -> Received:
    """The files in the order of the manifest's lines, which must name each of them once. Raises InvalidManifest."""
    known: dict[str, Source] = {}
    for file in files:
        name = _form_name(file)
        if not name:
            raise InvalidManifest("a file came without a name; the manifest finds files by their names")
        if name in known:
            raise InvalidManifest(f"two files are called {names.brief(name)}; give each its own name", item=name)
        known[name] = file
    rows, _ = looked_up(text, Lookup(list(known)), "")
    items = [
        item(known[name], names.normal(row.file_name.strip()) if row.part else name, row.label, row.split, row.group)
        for name, row in rows.items()
    ]
    return Received(items, {"layout": "manifest"}, modality=modality)


def from_archive(
    source: bytes | memoryview | Path,
    *,
    manifest: bytes | memoryview | None = None,
    limits: Limits | None = None,
    encoding: str | None = None,
    root: str = "",
    hints: Hints = Hints(),  # noqa: B008 (frozen)
) -> Received:
    """A zip in one of the layouts above; a manifest sent beside it says the labels instead of the folders.

    `encoding` is that of names which do not say theirs; only what lies in the folder `root` is read. Blocking: unpacks
    every member once to check and hash it, and again when its data is asked for, so keep `source` open.
    Raises InvalidArchive, InvalidManifest.
    """
    archive = Archive(source, limits or Limits(), encoding)
    return arranged(archive, manifest, InvalidArchive, root, hints)


def from_folder(
    path: Path,
    *,
    follow: bool = False,
    encoding: str | None = None,
    root: str = "",
    hints: Hints = Hints(),  # noqa: B008 (frozen)
) -> Received:
    """A folder in one of the layouts above. Blocking. Raises InvalidInput, InvalidManifest."""
    found = folders.read_folder(path, follow=follow, encoding=encoding)
    return arranged(found, None, InvalidInput, root, replace(hints, container=path.resolve().name))


def from_path(
    path: Path,
    *,
    follow: bool = False,
    encoding: str | None = None,
    root: str = "",
    classes: frozenset[str] = frozenset(),
    lenient: bool = False,
) -> Received:
    """A folder, a zip, a manifest beside its files, or a table of texts. Blocking. Raises InvalidInput and its kinds.

    `classes` are those that the head has already; `lenient` passes over files that are no inputs instead of refusing
    them.
    """
    hints = Hints(path.stem, classes, lenient=lenient)
    if path.is_dir():
        return from_folder(path, follow=follow, encoding=encoding, root=root, hints=hints)
    if not path.is_file():
        raise InvalidInput(f"no such file or folder: {names.shown(str(path))}")
    if path.suffix.lower() not in other_tables.SUFFIXES:
        return from_archive(path, encoding=encoding, root=root, hints=hints)
    with folders.opened(path) as file:
        text = file.read(arrangement.MOST_MANIFEST_BYTES)
    if manifests.brings_texts(text):
        return of_texts(text)
    wanted = [row.file_name for row in manifests.read(text) if isinstance(row, manifests.Row)]
    found = folders.named(path.parent, wanted)
    modality = kinds.of(list(found), lambda name, most: _head(found[name], most), None, InvalidInput)
    return from_manifest(text, [folders.on_disk(name, file) for name, file in found.items()], modality)


def _head(path: Path, most: int) -> bytes:
    with folders.opened(path) as file:
        return file.read(most)


def _form_name(file: Source) -> str:
    return names.normal(names.of_form(file.file_name or ""))
