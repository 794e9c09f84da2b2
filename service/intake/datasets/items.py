"""Items: one labeled example each, with the way to its bytes; what they are checked for, and what they are known by."""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from adapters.types import Example, SplitName


class Source(Protocol):
    """A file to learn from: a part of an upload, a member of an archive, a file on disk."""

    @property
    def file_name(self) -> str | None: ...
    @property
    def sha256(self) -> str: ...
    @property
    def data(self) -> Callable[[], bytes | memoryview]: ...
    @property
    def size(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Item:
    """One example and the way to its bytes."""

    example: Example
    data: Callable[[], bytes | memoryview]
    size: int = 0  # bytes


def item(
    file: Source, name: str, label: str, split: SplitName | None = None, group: str | None = None
) -> Item:  # fmt: skip
    """A file under its name, labeled."""
    return Item(Example(file.sha256, label, name, split, group), file.data, file.size)


@dataclass(frozen=True, slots=True)
class Content:
    """Bytes at hand as a source: a text of a table, of a form field, of JSON."""

    content: bytes | memoryview
    file_name: str  # where it was: "line 12" of a table, "text 3" of a request
    sha256: str
    size: int

    @classmethod
    def of(cls, content: bytes | memoryview, file_name: str) -> "Content":
        """Hashed."""
        return cls(content, file_name, hashlib.sha256(content).hexdigest(), len(content))

    def data(self) -> bytes | memoryview:
        """The bytes."""
        return self.content


def called(index: int, file_name: str | None, noun: str) -> str:
    """What messages call an item: `image 17 (cat.jpg)`, `text 3 (line 5)`, counted from 0."""
    name = f"{noun} {index}"
    return f"{name} ({file_name[:100]})" if file_name and file_name != name else name


def fingerprint(fields: Mapping[str, Any], items: Iterable[Item]) -> str:
    """SHA-256 (hex) of what was asked: equal for equal fields and items, whatever the multipart boundary was."""
    digest = hashlib.sha256(_canonical(dict(fields)))
    for item in items:
        it = item.example
        digest.update(_canonical([it.sha256, it.label, it.split, it.group, it.file_name]))
    return digest.hexdigest()


def _canonical(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode() + b"\n"
