"""Label text: one spelling of a class name, whichever task it belongs to."""

import unicodedata
from collections.abc import Iterable
from typing import Any

from adapters.errors import InvalidLabel

MAX_LABEL = 200  # characters
NAMED = 5  # how many offenders a message lists


def clean(text: str, item: str) -> str:
    """Strip and NFC-normalise a label, so that two spellings of "café" are one class.

    Raises InvalidLabel, naming `item`, for a label that is empty, too long (MAX_LABEL) or has control characters.
    """
    if len(text) > 4 * MAX_LABEL:  # before normalising: a megabyte costs nothing
        raise InvalidLabel(f"{item}: the label has {len(text):,} characters; at most {MAX_LABEL}", item=item)
    label = unicodedata.normalize("NFC", text.strip())
    if not label:
        raise InvalidLabel(f"{item}: the label is empty; give the name of its class", item=item)
    if len(label) > MAX_LABEL:
        raise InvalidLabel(f"{item}: the label has {len(label):,} characters; at most {MAX_LABEL}", item=item)
    if any(unicodedata.category(c) in ("Cc", "Cs") for c in label):  # line breaks, NUL, halves of surrogate pairs
        raise InvalidLabel(f"{item}: the label {label[:50]!r} has control characters; remove them", item=item)
    return label


def some(offenders: Iterable[str]) -> str:
    """At most five of them, then how many more."""
    all_of_them = list(offenders)
    more = f" and {len(all_of_them) - NAMED} more" if len(all_of_them) > NAMED else ""
    return ", ".join(all_of_them[:NAMED]) + more


def words(label: Any) -> str:
    """A label of any task as text: a class, labels joined, a number, numbers by name."""
    if isinstance(label, dict):
        return ", ".join(f"{name} {words(value)}" for name, value in label.items())
    if isinstance(label, list):
        return ", ".join(map(str, label)) or "none"
    return f"{label:.4g}" if isinstance(label, float) else str(label)
