"""Files of an archive or a folder → items: by the manifest among them, else by the folders that they lie in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Protocol

from adapters.errors import InvalidInput, InvalidManifest
from adapters.modalities import image
from adapters.problems import Problems
from service.intake.datasets import layout, manifests, names, other_tables, passed_over
from service.intake.datasets.archives import ARCHIVE_SUFFIXES, Member
from service.intake.datasets.items import Item, item
from service.intake.datasets.layout import Hints
from service.intake.datasets.lookup import Lookup

IMAGE_SUFFIXES = image.SUFFIXES | {""}
MOST_MANIFEST_BYTES = 512 << 20
SNIFFED = 1 << 20  # bytes of a file with another suffix that are looked at


@dataclass(frozen=True, slots=True)
class Received:
    """Items, how they were understood (ready for JSON), and what was passed over: name → reason."""

    items: list[Item]
    understood: dict[str, Any]
    passed_over: Mapping[str, str] = field(default_factory=dict)


class Files(Protocol):
    """An archive or a folder: the names in it, and their bytes when they are asked for."""

    @property
    def names(self) -> list[str]: ...
    @property
    def folders(self) -> list[str]: ...
    @property
    def passed_over(self) -> dict[str, str]: ...
    def members(self, wanted: Sequence[str]) -> list[Member]: ...
    def text(self, name: str, most: int) -> bytes: ...


def arranged(
    found: Files, manifest: bytes | memoryview | None, error: type[InvalidInput], root: str, hints: Hints
) -> Received:
    """Files of an archive or a folder → items, by manifest if there is one, else by folder."""
    root = names.normal(root.strip("/ "))
    prefix, hints = (f"{root}/", replace(hints, at_root=True)) if root else ("", hints)
    inside = [name for name in found.names if name.startswith(prefix)]
    if root and not inside:
        raise error(f"there is no folder {names.brief(root)} in it", item="root")
    skipped = {name: passed_over.OUTSIDE for name in found.names if not name.startswith(prefix)} | found.passed_over
    junk = {name: reason for name in inside if (reason := passed_over.reason(name.removeprefix(prefix)))}
    images = [name for name in inside if name not in junk]
    own = None
    if manifest is None and (own := _manifest(found, junk, images, prefix, error, hints)):
        manifest = found.text(own, MOST_MANIFEST_BYTES)
    if manifest is not None:
        return _by_manifest(found, manifest, own, inside, junk, skipped)
    return _by_folder(found, images, prefix, error, hints, junk | skipped)


def _manifest(
    found: Files, junk: Mapping[str, str], images: list[str], prefix: str, error: type[InvalidInput], hints: Hints
) -> str | None:
    """The name of the manifest among files, if there is one. Raises InvalidManifest."""
    own = [name for name in junk if other_tables.is_manifest(name) and _lies_above(name, images)]
    if len(own) > 1:
        raise InvalidManifest("there is more than one manifest; keep one", item=own[1])
    if own:
        return own[0]
    tables = [name for name, reason in junk.items() if reason == passed_over.TEXT and other_tables.is_table(name)]
    said = _said(images, prefix, error, hints) if tables else None
    table = other_tables.manifest_among(tables, lambda name: found.text(name, other_tables.MOST_BYTES), images, said)
    if table is not None and not _lies_above(table, images):
        raise InvalidManifest(
            f"{names.brief(table)} looks like a manifest, but does not lie above the images; move it to the top, or "
            "leave it out",
            item=table,
        )
    return table


def _lies_above(name: str, images: list[str]) -> bool:
    folder = name.rpartition("/")[0]
    return all(image.startswith(f"{folder}/") for image in images) if folder else True


def _said(images: list[str], prefix: str, error: type[InvalidInput], hints: Hints) -> dict[str, str] | None:
    """Image → label by folder; None where folders are not clear."""
    try:
        arranged = layout.by_folder([name.removeprefix(prefix) for name in images], error, hints)
    except InvalidInput:
        return None
    return {name: label for name, (label, _) in zip(images, arranged.places, strict=True)}


def _by_folder(
    found: Files,
    images: list[str],
    prefix: str,
    error: type[InvalidInput],
    hints: Hints,
    skipped: Mapping[str, str],
) -> Received:
    if not images:
        raise error("there are no images in it; put each image into a folder named after its class")
    foreign = _foreign(found, images)
    if not hints.lenient:
        _refuse(found, foreign, error)
    images = [name for name in images if name not in foreign]
    skipped = {**dict.fromkeys(foreign, passed_over.FOREIGN), **skipped}
    arranged = layout.by_folder([name.removeprefix(prefix) for name in images], error, hints)
    empty = [f for f in passed_over.without_images(_folders(found), images) if f.startswith(prefix)]
    items = [
        item(member, member.file_name, label, split)
        for member, (label, split) in zip(found.members(images), arranged.places, strict=True)
    ]
    understood = {"layout": arranged.kind, "root": prefix + arranged.root, "splits": arranged.splits}
    return Received(items, understood, {**dict.fromkeys(empty, passed_over.NO_IMAGES), **skipped})


def _foreign(found: Files, images: Sequence[str]) -> list[str]:
    """Files that are no images: by their suffix, and where that says nothing, by their first bytes."""
    odd = [name for name in images if _suffix(name) not in IMAGE_SUFFIXES]
    return [name for name in odd if _suffix(name) in ARCHIVE_SUFFIXES or not _looks_right(found.text(name, SNIFFED))]


def _looks_right(head: bytes) -> bool:
    return image.media_type(head).startswith("image/")


def _what(head: bytes) -> str:
    try:
        return image.recognise(head)
    except InvalidInput as error:
        return error.message.removeprefix("not an image: ")


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _refuse(found: Files, foreign: Sequence[str], error: type[InvalidInput]) -> None:
    problems = Problems()
    for name in foreign:
        if _suffix(name) in ARCHIVE_SUFFIXES:
            problems.add(error(f"{names.brief(name)} is an archive inside; unpack it first", item=name))
        else:
            problem = (
                f"{names.brief(name)} is no image, by its name and by its bytes: {_what(found.text(name, SNIFFED))}"
            )
            problems.add(error(f"{problem} (or leave it out)", item=name))
    problems.raise_any()


def _folders(found: Files) -> list[str]:
    """Every folder, also such as are only told by what lies in them."""
    parents = {str(parent) for name in (*found.names, *found.folders) for parent in PurePosixPath(name).parents}
    return sorted({*found.folders, *parents})


def _by_manifest(
    found: Files,
    text: bytes | memoryview,
    own: str | None,
    inside: list[str],
    junk: Mapping[str, str],
    skipped: Mapping[str, str],
) -> Received:
    known = [name for name in inside if name != own]
    folder = own.rpartition("/")[0] if own else ""
    rows, left = looked_up(text, Lookup(known), folder, junk)
    members = {member.file_name: member for member in found.members(sorted(rows))}
    items = [item(members[name], name, row.label, row.split, row.group) for name, row in rows.items()]
    passed = {name: junk[name] for name in left if name in junk}
    return Received(items, {"layout": "manifest", "manifest": own or "the one that was sent"}, {**passed, **skipped})


def looked_up(
    text: bytes | memoryview, lookup: Lookup, folder: str, junk: Mapping[str, str] | None = None
) -> tuple[dict[str, manifests.Row], list[str]]:
    """File → its row, in the order of rows, and files that no row names. Raises InvalidManifest that lists all."""
    problems, rows, unread = Problems(), dict[str, manifests.Row](), 0
    for row in manifests.read(text):
        if isinstance(row, InvalidManifest):
            problems.add(row)
            unread += 1
            continue
        name = lookup.find(row.part or row.file_name, folder)
        if name is None:
            hint = f"no file {names.brief(row.file_name)} came with the manifest"
            problems.add(InvalidManifest(f"line {row.line}: {hint}", item=row.item))
        elif name in rows:
            twice = f"line {row.line}: {names.brief(row.file_name)} is listed twice; keep one line"
            problems.add(InvalidManifest(twice, item=row.item))
        else:
            rows[name] = row
    left = [name for name in lookup.known if name not in rows]
    if not unread:  # else a file may be named in a line that is bad
        _add_unnamed(problems, [name for name in left if name not in (junk or {})])
    problems.raise_any()
    return rows, left


def _add_unnamed(problems: Problems, left: Sequence[str]) -> None:
    for name in left:
        hint = "add a line for it or do not send it"
        problems.add(InvalidManifest(f"the manifest does not name {names.brief(name)}; {hint}", item=name))
