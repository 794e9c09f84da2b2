"""Archives and folders of tiny photos, and what is read of them as items."""

import io
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from adapters.errors import InvalidArchive
from service.intake.datasets import items as item_checks
from service.intake.datasets import sources as reading
from service.intake.datasets.archives import Member


def png(width: int = 8, height: int = 8, color: str = "red") -> bytes:
    """A picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), color).save(buffer, "PNG")
    return buffer.getvalue()


PHOTO = png()


def zipped(*members: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive of these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members:
            archive.writestr(name, data, compress_type=method)
    return buffer.getvalue()


def photos(*names: str) -> bytes:
    """An archive of the same photo under several names."""
    return zipped(*((name, PHOTO) for name in names))


def labels(items: list[item_checks.Item]) -> list[tuple[str, str, str | None]]:
    """What items are: (file name, label, split)."""
    return [(item.example.file_name, item.example.label, item.example.split) for item in items]


def sources(*names: str | None) -> list[Member]:
    """Members beside a manifest, as they come in a form."""
    return [Member(name or "", f"{n:064}", lambda n=n: bytes([n])) for n, name in enumerate(names)]


def from_labels(*arguments: object) -> list[item_checks.Item]:
    """Items of images with labels beside them."""
    return reading.from_labels(*arguments).items  # type: ignore[arg-type]


def from_manifest(*arguments: object) -> list[item_checks.Item]:
    """Items of a manifest."""
    return reading.from_manifest(*arguments).items  # type: ignore[arg-type]


def from_archive(data: bytes, **options: object) -> list[item_checks.Item]:
    """Items of an archive."""
    return reading.from_archive(data, **options).items  # type: ignore[arg-type]


def from_folder(path: Path) -> list[item_checks.Item]:
    """Items of a folder."""
    return reading.from_folder(path).items


def from_path(path: Path) -> list[item_checks.Item]:
    """Items of a path: an archive, or a folder."""
    return reading.from_path(path).items


def refused(data: bytes, says: str, **options: object) -> InvalidArchive:
    """The error that an archive must be refused with."""
    with pytest.raises(InvalidArchive, match=says) as caught:
        from_archive(data, **options)  # type: ignore[arg-type]
    return caught.value


CSV = "file_name,label,split,group\na.jpg,cat,train,g1\nb.jpg,dog,,\nc.jpg,cat,validation,\n"
JSONL = (
    '{"file_name": "a.jpg", "label": "cat", "split": "train", "group": "g1"}\n\n'
    '{"file_name": "b.jpg", "label": "dog"}\n{"label": "cat", "split": "val", "file_name": "./c.jpg"}'
)
