"""A page of heads as JSON, into which labels and metrics go as the database has written them.

They are nearly all of it, 3 MB for a thousand heads of ten classes with three versions: reading them and writing them
anew took Python longer than all the rest.
"""

from collections.abc import Sequence
from typing import Any

from pydantic_core import to_json

from adapters.store.heads import HeadSummary, Written
from service.api.heads.schemas import HeadView


def written(page: Sequence[HeadSummary], last: str | None) -> bytes:
    """`HeadPage`, with a call of the encoder for each version and head; in a thread."""
    heads = b",".join([_object(HeadView.plain(head)) for head in page])
    return b'{"heads":[' + heads + b'],"next":' + to_json(last) + b"}"


def _object(content: dict[str, Any]) -> bytes:
    """A head or a version: what is written already as it is, versions one by one, and what is between in one call."""
    parts, between = list[bytes](), dict[str, Any]()
    for name, value in content.items():
        if isinstance(value, Written):
            made = value.text.encode()
        elif name == "versions":
            made = b"[" + b",".join(map(_object, value)) + b"]"
        else:
            between[name] = value
            continue
        parts += [*_fields(between), f'"{name}":'.encode() + made]
        between = {}
    return b"{" + b",".join([*parts, *_fields(between)]) + b"}"


def _fields(content: dict[str, Any]) -> list[bytes]:
    return [to_json(content)[1:-1]] if content else []
