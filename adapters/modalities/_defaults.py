"""What a modality may leave to us: plain answers to part of the contract, made of what it says itself.

Each function here makes one of the contract's of a modality that has none of that name. What differs by what inputs are
(bytes → tensors, their cost, what made-up ones look like) has no plain answer, and every modality says it.
"""

import hashlib
import pkgutil
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from adapters import padding
from adapters.types import Preview


def complete(modality: ModuleType) -> None:
    """Give it what it leaves out; a folder may have it in a file of its own."""
    files = {module.name for module in pkgutil.iter_modules(getattr(modality, "__path__", []))}
    for name in EACH.keys() - vars(modality).keys() - files:
        setattr(modality, name, EACH[name](modality))


def media_type(modality: Any) -> Callable[..., str]:
    """Its first one."""
    return lambda data: modality.MEDIA_TYPES[0] if modality.sniff(data) else "application/octet-stream"


def verify(modality: Any) -> Callable[..., dict[str, Any]]:
    """What `probe` tells, where that reads all of it."""
    return lambda data, *, most=modality.MOST: dict(modality.probe(data, most=most).facts)


def collate(_: Any) -> Callable[..., Any]:
    """Side by side, padded along the first axis."""
    return lambda items, spec, *, pad=False: padding.collate(items, pad)


def fingerprint(_: Any) -> Callable[..., Any]:
    """Of the bytes: near-duplicates are the same files."""
    return lambda tensors, data: np.frombuffer(hashlib.sha256(data).digest(), np.uint8)


def preview(modality: Any) -> Callable[..., Preview]:
    """Its beginning where that can be read, and how large it is where not."""

    def shown(data: Any, side: int, *, most: int = modality.MOST) -> Preview:
        size = f"{modality.NOUN} of {modality.probe(data, most=most).cost} {modality.UNIT}"
        start = bytes(data[:side]).decode("ascii", errors="replace")
        text = start if start.isascii() and start.isprintable() else size
        return Preview("text/plain; charset=utf-8", text.encode(), text)

    return shown


def alike(_: Any) -> Callable[..., Any]:
    """One round, which joins those of equal fingerprints."""
    return lambda embeddings, fingerprints, cancelled: [lambda groups: _equal(fingerprints)]


def _equal(fingerprints: Any) -> tuple[Any, Any]:
    """i64 [P] each: the first of every fingerprint, and another that has the same."""
    _, first, which = np.unique(fingerprints, axis=0, return_index=True, return_inverse=True)
    rows, firsts = np.arange(len(fingerprints)), first[which.reshape(-1)]
    return firsts[firsts != rows], rows[firsts != rows]


EACH: dict[str, Callable[[Any], Any]] = {
    made.__name__: made for made in (media_type, verify, collate, fingerprint, preview, alike)
}
