"""JSON from strangers, read so that nobody else waits, whatever is in it.

Python's fast reader keeps its global lock from the first byte to the last: 2 MB of `[],[],…` are 0.2 s during which no
other thread runs, and letting go of the result is as long again. So what has many values is read by the slow reader,
which is Python itself and lets others in between, and what has more than its reader can have a use for is not read.
"""

import json
from json import scanner
from typing import Any

from adapters.labels import Twice, distinct

MANY = 20_000  # values; the fast reader takes some ms for them


__all__ = ["TooMany", "Twice", "loads"]


class TooMany(ValueError):
    """The text has more values than anybody can have a use for."""


def loads(text: str, most: int, **options: Any) -> Any:
    """The value of a JSON text with `most` values (commas and opening brackets) at most; `options` as of `json.loads`.

    Raises ValueError for what is no JSON, has more, or is nested too deeply, and Twice for an object with a key twice.
    """
    values = text.count(",") + text.count("[") + text.count("{")
    if values > most:
        raise TooMany(f"it has more than {most:,} values")
    try:
        return json.loads(text, cls=_Yielding if values > MANY else None, object_pairs_hook=distinct, **options)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


class _Yielding(json.JSONDecoder):
    """Python's own reader, written in Python."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.scan_once = scanner.py_make_scanner(self)  # type: ignore[attr-defined]
