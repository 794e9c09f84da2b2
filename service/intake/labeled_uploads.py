"""What came to learn from, in a form or in JSON → labeled items: inputs with labels, an archive, a manifest, texts."""

from collections.abc import Callable
from collections.abc import Set as AbstractSet

from adapters import modalities
from adapters.errors import InvalidInput
from adapters.types import ORIGINAL
from service.intake import fields
from service.intake.datasets import kinds, manifests, names, sources
from service.intake.datasets.items import Content, Source
from service.intake.datasets.layout import Hints
from service.intake.datasets.sources import Limits, Received
from service.intake.uploads import Part, Upload

ARCHIVE_OPTIONS = frozenset({"archive_encoding", "root"})


def received(upload: Upload, limits: Limits, hints: Callable[[str], Hints]) -> Received:
    """The labeled items of any of the layouts; `hints` are those for an archive of that name, "" for none.

    Blocking. Raises InvalidInput of many kinds.
    """
    field = fields.the_one(upload.names, fields.known())
    inputs = upload.inputs(field) if field else []
    archives, manifest, labels = upload.files("archive"), upload.part("manifest"), upload.fields("labels")
    text = None if manifest is None else manifest.data()
    texts = text is not None and not inputs and not archives and manifests.brings_texts(text)
    _check_layout(field, bool(inputs) or texts, len(archives), text is not None, bool(labels))
    _check_archive_only(bool(archives), upload.names)
    if archives:
        return _unpacked(upload, archives[0], text, limits, hints(archives[0].file_name or ""))
    if text is not None and texts:
        return sources.of_texts(text)
    files, modality = _told(str(field), inputs, hints)
    if text is not None:
        return sources.from_manifest(text, files, modality)
    return sources.from_labels(files, sources.parse_labels(labels, modalities.get(modality).NOUN), modality)


def _told(field: str, inputs: list[Part], hints: Callable[[str], Hints]) -> tuple[list[Source], str]:
    """Inputs with what they are called, and their modality: as the field says, else by their names and bytes."""
    modality = fields.known()[field]
    if modality is None:
        modality = _sniffed(inputs, hints("").modality)
    noun = modalities.get(modality).NOUN
    return [_source(part, f"{noun} {index}") for index, part in enumerate(inputs)], modality


def _source(part: Part, name: str) -> Source:
    """Files as they are; a text field, or one in another charset than UTF-8, as bytes of its own."""
    data = part.utf8()
    if part.file_name is None:
        return Content.of(bytes(data), name)
    return part if isinstance(data, memoryview) else Content.of(data, part.file_name)


def _sniffed(inputs: list[Part], expected: str | None) -> str:
    """The modality of inputs whose field does not say it. Raises InvalidInput for a mix."""
    told: dict[str, str] = {}
    for index, part in enumerate(inputs):
        found = kinds.of_file(part.file_name or "", part.data())
        if found is not None:
            told.setdefault(found, f"input {index}")
    if len(told) > 1:
        (one, first), (other, second) = list(told.items())[:2]
        raise InvalidInput(
            f"{first} is {kinds.a(one)} and {second} {kinds.a(other)}; a head reads one kind, so send one",
            item=second,
        )
    return next(iter(told), None) or expected or ORIGINAL


def _unpacked(
    upload: Upload, archive: Part, manifest: memoryview | None, limits: Limits, hints: Hints
) -> Received:  # fmt: skip
    chosen = upload.field("archive_encoding")
    encoding = None if chosen is None else names.encoding(chosen)
    root = upload.field("root", "") or ""
    return sources.from_archive(
        archive.data(), manifest=manifest, limits=limits, encoding=encoding, root=root, hints=hints
    )


def _check_layout(field: str | None, inputs: bool, archives: int, manifest: bool, labels: bool) -> None:
    """Which of inputs, `archive`, `manifest` and `labels` go together. Raises InvalidInput."""
    if inputs == bool(archives):
        how = f"{fields.listed()} with `labels` or a `manifest`"
        raise InvalidInput(f"send either {how}, or an `archive`, or a `manifest` of texts", item=field or fields.INPUTS)
    if archives > 1:
        raise InvalidInput("send one `archive`", item="archive")
    if manifest and labels:
        raise InvalidInput("send `labels` or a `manifest`, not both", item="labels")
    if archives and labels:
        raise InvalidInput(
            "an `archive` has its labels in folder names or a `manifest`; leave `labels` out", item="labels"
        )


def _check_archive_only(archive: bool, sent: AbstractSet[str]) -> None:
    """Options that are about an archive come with one. Raises InvalidInput."""
    if not archive and (alone := sorted(ARCHIVE_OPTIONS & sent)):
        raise InvalidInput(f"{alone[0]!r} is about an `archive`, and none was sent", item=alone[0])
