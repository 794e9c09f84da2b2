"""Files of an archive or a folder → items: by the manifest among them, else by the folders that they lie in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any, Protocol

from adapters import modalities
from adapters.errors import InvalidInput, InvalidManifest
from adapters.problems import Problems
from adapters.types import ORIGINAL
from service.intake import fields
from service.intake.datasets import kinds, layout, manifests, names, other_tables, passed_over
from service.intake.datasets.archives import ARCHIVE_SUFFIXES, Member
from service.intake.datasets.items import Content, Item, item
from service.intake.datasets.layout import Hints
from service.intake.datasets.lookup import Lookup

MOST_MANIFEST_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class Received:
    """Items, how they were understood (ready for JSON), and what was passed over: name → reason."""

    items: list[Item]
    understood: dict[str, Any]
    passed_over: Mapping[str, str] = field(default_factory=dict)
    modality: str = ORIGINAL
    told: Mapping[str, Any] = field(default_factory=dict)  # what a caller says that it passed over, ready for JSON


class Files(Protocol):
    """An archive or a folder: the names in it, and their bytes when they are asked for."""

    @property
    def names(self) -> list[str]: ...
    @property
    def folders(self) -> list[str]: ...
    @property
    def passed_over(self) -> dict[str, str]: ...
    @property
    def understood(self) -> dict[str, str]: ...
    def members(self, wanted: Sequence[str]) -> list[Member]: ...
    def text(self, name: str, most: int) -> bytes: ...


def arranged(
    found: Files, manifest: bytes | memoryview | None, error: type[InvalidInput], root: str, hints: Hints
) -> Received:
    """Files of an archive or a folder → items, by manifest if there is one, else by folder."""
    received = _arranged(found, manifest, error, root, hints)
    kind = modalities.get(received.modality)
    are_texts = bool(kind.SUFFIXES & passed_over.TEXT_SUFFIXES)
    text = passed_over.BESIDE_EXAMPLES if are_texts else passed_over.text(kinds.article(kind.NOUN))
    told = {name: text if why == passed_over.TEXT else why for name, why in received.passed_over.items()}
    return replace(received, passed_over=told, understood=received.understood | found.understood)


def _arranged(
    found: Files, manifest: bytes | memoryview | None, error: type[InvalidInput], root: str, hints: Hints
) -> Received:
    if len(root) > names.MOST_NAME:
        raise error(f"'root' has {len(root):,} characters; at most {names.MOST_NAME:,}", item="root")
    root = names.normal(root.strip("/ "))
    prefix, hints = (f"{root}/", replace(hints, at_root=True)) if root else ("", hints)
    inside = [name for name in found.names if name.startswith(prefix)]
    if root and not inside:
        raise error(f"there is no folder {names.brief(root)} in it", item="root")
    skipped = {name: passed_over.OUTSIDE for name in found.names if not name.startswith(prefix)} | found.passed_over
    files, junk = kinds.candidates(inside, prefix)
    own = None
    if manifest is None and (own := _manifest(found, junk, files, prefix, error, hints)):
        manifest = found.text(own, MOST_MANIFEST_BYTES)
    if manifest is not None and manifests.brings_texts(manifest):
        return _by_texts(manifest, own, files, error, junk | skipped)
    if not files and manifest is None:
        raise error(f"there are no {_nouns()} in it; put each into a folder named after its class")
    if manifest is not None:
        return _by_manifest(found, manifest, own, inside, junk, skipped, error, hints)
    return _by_folder(found, files, prefix, error, hints, junk | skipped)


def _nouns() -> str:
    return " or ".join(fields.plural(name) for name in modalities.names())


def _by_texts(
    text: bytes | memoryview, own: str | None, files: list[str], error: type[InvalidInput], skipped: Mapping[str, str]
) -> Received:
    """Examples that stand in the manifest itself; files beside it would be of no use."""
    if files:
        raise error(
            f"the manifest has texts in it, and {names.brief(files[0])} came beside them; send one or the other",
            item=files[0],
        )
    received = of_texts(text)
    passed = {name: reason for name, reason in skipped.items() if name != own}
    return replace(received, understood=received.understood | {"manifest": own or ""}, passed_over=passed)


def of_texts(text: bytes | memoryview) -> Received:
    """The rows of a table with a column for texts, each an example. Raises InvalidManifest that lists every bad row."""
    problems, items = Problems(), []
    for row in manifests.read(text):
        if isinstance(row, InvalidManifest):
            problems.add(row)
        elif row.text is None:
            problems.add(InvalidManifest(f"line {row.line}: it has no text, as others have", item=row.item))
        else:
            content = Content.of(row.text.encode(), row.item)
            items.append(item(content, row.item, row.label, row.split, row.group))
    problems.raise_any()
    return Received(items, {"layout": "a table of texts"}, modality=str(fields.of_media_type(fields.TEXT)))


def _manifest(
    found: Files, junk: Mapping[str, str], files: list[str], prefix: str, error: type[InvalidInput], hints: Hints
) -> str | None:
    """The name of the manifest among files, if there is one. Raises InvalidManifest."""
    own = [name for name in junk if other_tables.is_manifest(name) and _lies_above(name, files)]
    if len(own) > 1:
        raise InvalidManifest("there is more than one manifest; keep one", item=own[1])
    if own:
        return own[0]
    aside = (passed_over.TEXT, passed_over.BESIDE)
    tables = [name for name, reason in junk.items() if reason in aside and other_tables.may_be_table(name)]
    looked_at = [] if files else [one for one in tables if other_tables.is_table(one)][: other_tables.MOST_TABLES]
    if len(texts := [name for name in looked_at if _brings_texts(found, name)]) == 1:
        return texts[0]
    said = _said(files, prefix, error, hints) if tables else None
    table = other_tables.manifest_among(
        tables, lambda name: found.text(name, other_tables.most_bytes(name)), files, said
    )
    if table is not None and not _lies_above(table, files):
        raise InvalidManifest(
            f"{names.brief(table)} looks like a manifest, but does not lie above the files; move it to the top, or "
            "leave it out",
            item=table,
        )
    return table


def _brings_texts(found: Files, name: str) -> bool:
    try:
        return manifests.brings_texts(found.text(name, MOST_MANIFEST_BYTES))
    except InvalidInput:
        return False


def _lies_above(name: str, files: list[str]) -> bool:
    folder = name.rpartition("/")[0]
    return all(file.startswith(f"{folder}/") for file in files) if folder else True


def _said(files: list[str], prefix: str, error: type[InvalidInput], hints: Hints) -> dict[str, str] | None:
    """File → label by folder; None where folders are not clear."""
    try:
        arranged = layout.by_folder([name.removeprefix(prefix) for name in files], error, hints)
    except InvalidInput:
        return None
    return {name: label for name, (label, _) in zip(files, arranged.places, strict=True)}


def _by_folder(
    found: Files,
    files: list[str],
    prefix: str,
    error: type[InvalidInput],
    hints: Hints,
    skipped: Mapping[str, str],
) -> Received:
    modality = kinds.of(files, found.text, hints.modality, error)
    kind = modalities.get(modality)
    foreign = _foreign(found, files, kind)
    if not hints.lenient:
        _refuse(found, foreign, error, kind)
    files = [name for name in files if name not in foreign]
    skipped = {**dict.fromkeys(foreign, passed_over.foreign(kind.NOUN)), **skipped}
    arranged = layout.by_folder([name.removeprefix(prefix) for name in files], error, hints)
    empty = [f for f in passed_over.without_inputs(_folders(found), files) if f.startswith(prefix)]
    items = [
        item(member, member.file_name, label, split)
        for member, (label, split) in zip(found.members(files), arranged.places, strict=True)
    ]
    understood = {"layout": arranged.kind, "root": prefix + arranged.root, "splits": arranged.splits}
    return Received(items, understood, {**dict.fromkeys(empty, passed_over.empty(kind.NOUN)), **skipped}, modality)


def _foreign(found: Files, files: Sequence[str], kind: Any) -> list[str]:
    """Files of no such modality: by their suffix, and where that says nothing, by their first bytes."""
    odd = [name for name in files if kinds.suffix(name) not in kind.SUFFIXES | {""}]
    return [
        name
        for name in odd
        if kinds.suffix(name) in ARCHIVE_SUFFIXES or not kind.sniff(found.text(name, kinds.SNIFFED))
    ]


def _what(head: bytes, kind: Any) -> str:
    try:
        kind.probe(head, most=kind.MOST)
    except InvalidInput as error:
        return error.message.removeprefix(f"not {kinds.article(kind.NOUN)}: ")
    return "it looks like something else"


def _refuse(found: Files, foreign: Sequence[str], error: type[InvalidInput], kind: Any) -> None:
    problems = Problems()
    for name in foreign:
        if kinds.suffix(name) in ARCHIVE_SUFFIXES:
            problems.add(error(f"{names.brief(name)} is an archive inside; unpack it first", item=name))
        else:
            what = _what(found.text(name, kinds.SNIFFED), kind)
            problem = f"{names.brief(name)} is no {kind.NOUN}, by its name and by its bytes: {what}"
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
    error: type[InvalidInput],
    hints: Hints,
) -> Received:
    known = [name for name in inside if name != own]
    folder = own.rpartition("/")[0] if own else ""
    rows, left = looked_up(text, Lookup(known), folder, junk)
    modality = kinds.of(list(rows), found.text, hints.modality, error)
    members = {member.file_name: member for member in found.members(sorted(rows))}
    items = [item(members[name], name, row.label, row.split, row.group) for name, row in rows.items()]
    passed = {name: junk[name] for name in left if name in junk}
    return Received(
        items, {"layout": "manifest", "manifest": own or "the one that was sent"}, {**passed, **skipped}, modality
    )


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
        if row.text is not None:
            problems.add(InvalidManifest(f"line {row.line}: it has a text, where others name files", item=row.item))
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
