"""Labeled uploads → items: images with labels, a zip or a folder with one folder per class, or a manifest.

Layouts, in a zip and on disk alike:

    <class>/<image>                     one folder per class
    train|val|test/<class>/<image>      the caller's own split (also valid, validation)
    manifest.csv or manifest.jsonl      at the top; then folders mean nothing

One folder around everything is allowed and left out of the names. Hidden files, `__MACOSX/`, `Thumbs.db` and text
files (a licence, a README) are passed over anywhere; any other file that is not an image is an error, because leaving
it out quietly would train on less than the caller thinks.

Labels stay text here: what a label means is the task's to say.
"""

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from adapters.errors import InvalidArchive, InvalidInput, InvalidManifest
from adapters.modalities import image
from adapters.types import Example, SplitName
from service.datasets import archives, manifests
from service.datasets.archives import Limits, Member

SPLITS: Mapping[str, SplitName] = manifests.SPLITS
IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ""}
)
TEXT_SUFFIXES = frozenset({".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".jsonl", ".yaml", ".yml", ".xml", ".html"})
JUNK_NAMES = frozenset({"thumbs.db", "desktop.ini", "ehthumbs.db", "__macosx", "license", "licence", "readme"})
MANIFEST_NAMES = ("manifest.csv", "manifest.jsonl")
MAX_COUNTED = 20  # bad images counted before giving up: each may cost a full decode

__all__ = ["Item", "Limits", "Source", "fingerprint", "from_archive", "from_folder", "from_labels", "from_manifest"]
__all__ += ["from_path", "parse_labels", "probe_all"]


class Source(Protocol):
    """A file to learn from: a part of an upload, a member of an archive, a file on disk."""

    @property
    def file_name(self) -> str | None: ...
    @property
    def sha256(self) -> str: ...
    @property
    def data(self) -> Callable[[], bytes | memoryview]: ...


@dataclass(frozen=True, slots=True)
class Item:
    """One example and the way to its bytes."""

    example: Example
    data: Callable[[], bytes | memoryview]


def parse_labels(fields: Sequence[str]) -> list[str]:
    """Labels sent as repeated fields, or all in one field as a JSON array. Raises InvalidInput."""
    if len(fields) != 1 or not fields[0].lstrip().startswith("["):
        return list(fields)
    try:
        labels = json.loads(fields[0])
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"labels starts like a JSON array but is none ({error})") from None
    for index, label in enumerate(labels):
        if label is None:
            raise InvalidInput(f"label {index} is null; every image needs a label", item=f"image {index}")
    return [manifests.label_text(label) for label in labels]


def from_labels(files: Sequence[Source], labels: Sequence[str]) -> list[Item]:
    """Images and their labels in the same order. Raises InvalidInput when their numbers differ."""
    if not files:
        raise InvalidInput("no images were sent; send them as files in the field 'images'")
    if len(files) > len(labels):
        item = _named(len(labels), files[len(labels)].file_name)
        raise InvalidInput(
            f"{len(files)} images came with {len(labels)} labels; {item} has none: send one label per image, in order",
            item=item,
        )
    if len(labels) > len(files):
        extra = labels[len(files)][:50]
        raise InvalidInput(
            f"{len(files)} images came with {len(labels)} labels; label {len(files)} ({extra!r}) has no image:"
            " send one label per image, in order"
        )
    return [_item(file, label) for file, label in zip(files, labels, strict=True)]


def from_manifest(text: bytes | memoryview, files: Sequence[Source]) -> list[Item]:
    """The files in the order of the manifest's lines, which must name each of them once. Raises InvalidManifest."""
    return _by_manifest(text, files, wrapper="")


def from_archive(
    source: bytes | memoryview | Path, *, manifest: bytes | memoryview | None = None, limits: Limits | None = None
) -> list[Item]:
    """A zip in one of the layouts above; a manifest sent beside it says the labels instead of the folders.

    Blocking: unpacks every member once to check and hash it, and again when its data is asked for, so keep `source`
    open. Raises InvalidArchive, InvalidManifest.
    """
    members = archives.read_zip(source, limits or Limits(), skip=_is_passed_over)
    return _arranged(members, manifest, InvalidArchive)


def from_folder(path: Path) -> list[Item]:
    """A folder in one of the layouts above. Blocking. Raises InvalidInput, InvalidManifest."""
    relative = sorted(file.relative_to(path) for file in path.rglob("*") if file.is_file())
    return _arranged([_on_disk(path, name) for name in relative if not _is_passed_over(str(name))], None, InvalidInput)


def from_path(path: Path) -> list[Item]:
    """A folder, a zip, or a manifest beside its images. Blocking. Raises InvalidInput and its kinds."""
    if path.is_dir():
        return from_folder(path)
    if not path.is_file():
        raise InvalidInput(f"no such file or folder: {path}")
    if path.suffix.lower() not in (".csv", ".jsonl"):
        return from_archive(path)
    text = path.read_bytes()
    names = dict.fromkeys(row.file_name for row in manifests.read(text))
    return from_manifest(text, [_on_disk(path.parent, Path(name)) for name in names if (path.parent / name).is_file()])


def fingerprint(fields: Mapping[str, Any], items: Iterable[Item]) -> str:
    """SHA-256 (hex) of what was asked: equal for equal fields and items, whatever the multipart boundary was."""
    digest = hashlib.sha256(_canonical(dict(fields)))
    for item in items:
        it = item.example
        digest.update(_canonical([it.sha256, it.label, it.split, it.group, it.file_name]))
    return digest.hexdigest()


def probe_all(items: Sequence[Item], *, max_pixels: int = image.MAX_PIXELS) -> None:
    """Check that every item is an image that can be decoded. Blocking.

    Raises the first one's InvalidImage or ImageTooLarge, which names it by its index from 0 and says how many more
    are bad.
    """
    bad = _bad_images(items, max_pixels)
    first = next(bad, None)
    if first is None:
        return
    index, error = first
    count = 1 + sum(1 for _ in zip(range(MAX_COUNTED - 1), bad, strict=False))
    item = _named(index, items[index].example.file_name)
    at_least = "at least " if count == MAX_COUNTED else ""
    rest = f" ({at_least}{count} of {len(items)} images cannot be used)" if count > 1 else ""
    raise type(error)(f"{item}: {error.message}{rest}", item=item)


def _bad_images(items: Sequence[Item], max_pixels: int) -> Iterator[tuple[int, InvalidInput]]:
    for index, item in enumerate(items):
        try:
            image.probe(item.data(), max_pixels=max_pixels)
        except InvalidInput as error:
            yield index, error


def _arranged(files: list[Member], manifest: bytes | memoryview | None, error: type[InvalidInput]) -> list[Item]:
    """Files of an archive or a folder → items, by manifest if there is one, else by folder."""
    wrapper = _wrapper(files)
    images = [file for file in files if PurePosixPath(file.file_name).name not in MANIFEST_NAMES]
    for file in images:
        _check_suffix(file.file_name, error)
    if not images:
        raise error("there are no images in it; put each image into a folder named after its class")
    if manifest is None and (own := [file for file in files if file.file_name.removeprefix(wrapper) in MANIFEST_NAMES]):
        if len(own) > 1:
            raise InvalidManifest("there is more than one manifest; keep one")
        manifest = own[0].data()
    return _by_folder(images, error) if manifest is None else _by_manifest(manifest, images, wrapper)


def _by_manifest(text: bytes | memoryview, files: Sequence[Source], wrapper: str) -> list[Item]:
    known = _by_name(files)
    items: dict[str, Item] = {}
    for row in manifests.read(text):
        name = _normal(row.file_name)
        name = name if name in known else wrapper + name
        if name not in known:
            raise InvalidManifest(f"line {row.line}: no file {row.file_name!r} came with the manifest", item=row.item)
        if name in items:
            raise InvalidManifest(f"line {row.line}: {row.file_name!r} is listed twice; keep one line", item=row.item)
        items[name] = _item(known[name], row.label, row.split, row.group)
    _check_all_named(known, items)
    return list(items.values())


def _check_all_named(known: Mapping[str, Source], items: Mapping[str, Item]) -> None:
    if left := [name for name in known if name not in items]:
        more = f" (and {len(left) - 1} more)" if len(left) > 1 else ""
        problem = f"the manifest does not name {left[0]!r}{more}; add a line for it or do not send it"
        raise InvalidManifest(problem, item=left[0])


def _wrapper(files: Sequence[Member]) -> str:
    """The one folder around everything with its slash, or nothing."""
    tops = {file.file_name.partition("/")[:2] for file in files}
    top, slash = tops.pop() if len(tops) == 1 else ("", "")
    return top + slash if slash else ""


def _unwrapped(files: list[Member]) -> list[Member]:
    """Without the folder around everything, where it stands above the classes and is neither class nor split."""
    wrapper = _wrapper(files)
    if not wrapper or wrapper[:-1].lower() in SPLITS or any(file.file_name.count("/") < 2 for file in files):
        return files
    return [replace(file, file_name=file.file_name.removeprefix(wrapper)) for file in files]


def _by_folder(files: list[Member], error: type[InvalidInput]) -> list[Item]:
    files = _unwrapped(files)
    paths = [PurePosixPath(file.file_name).parts for file in files]
    has_splits = any(len(parts) == 3 for parts in paths)
    if not has_splits and all(parts[0].lower() in SPLITS for parts in paths if len(parts) == 2):
        has_splits = True  # train/ and test/ with no folder below are not two classes
    return [_filed(file, parts, has_splits, error) for file, parts in zip(files, paths, strict=True)]


def _filed(file: Member, parts: tuple[str, ...], has_splits: bool, error: type[InvalidInput]) -> Item:
    split = SPLITS.get(parts[0].lower()) if has_splits and len(parts) > 1 else None
    folders = parts[1:-1] if split else parts[:-1]
    if len(folders) != 1:
        problem = "lies in no class folder" if not folders else "lies too deep"
        layout = "<class>/<image> or train|val|test/<class>/<image>"
        raise error(f"{file.file_name!r} {problem}; the layout is {layout}", item=file.file_name)
    return _item(file, folders[0], split)


def _is_passed_over(name: str) -> bool:
    """Hidden, left by an operating system, or text that belongs to a data set but is no example."""
    path = PurePosixPath(name)
    if any(part.startswith(".") or part.lower() in JUNK_NAMES for part in path.parts):
        return True
    return path.suffix.lower() in TEXT_SUFFIXES and path.name not in MANIFEST_NAMES


def _check_suffix(name: str, error: type[InvalidInput]) -> None:
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in archives.ARCHIVE_SUFFIXES:
        raise error(f"{name!r} is an archive; unpack it first", item=name)
    if suffix not in IMAGE_SUFFIXES:
        fix = "convert it to JPEG, PNG, WebP, BMP, GIF or TIFF, or leave it out"
        raise error(f"{name!r} is not an image by its name; {fix}", item=name)


def _on_disk(root: Path, name: Path) -> Member:
    path = root / name
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Member(unicodedata.normalize("NFC", name.as_posix()), digest, path.read_bytes)


def _by_name(files: Sequence[Source]) -> dict[str, Source]:
    known: dict[str, Source] = {}
    for file in files:
        name = _normal(file.file_name or "")
        if not name:
            raise InvalidManifest("a file came without a name; the manifest finds files by their names")
        if name in known:
            raise InvalidManifest(f"two files are called {name!r}; give each its own name", item=name)
        known[name] = file
    return known


def _item(file: Source, label: str, split: SplitName | None = None, group: str | None = None) -> Item:
    return Item(Example(file.sha256, label, file.file_name or "", split, group), file.data)


def _named(index: int, file_name: str | None) -> str:
    return f"image {index} ({file_name})" if file_name else f"image {index}"


def _normal(name: str) -> str:
    """One spelling of a path: composed accents, forward slashes, no `./` in front."""
    return str(PurePosixPath(unicodedata.normalize("NFC", name.replace("\\", "/")))) if name else ""


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
