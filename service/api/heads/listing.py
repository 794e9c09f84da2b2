"""A page of heads as JSON, into which labels and metrics go as the database has written them.

They are nearly all of it, 3 MB for a thousand heads of ten classes with three versions: reading them and writing them
anew took Python longer than all the rest.
"""

from collections.abc import Sequence
from itertools import chain, zip_longest

from pydantic_core import to_json

from adapters.store.heads import HeadSummary, Written
from service.api.heads.schemas import HeadView

PLACE = "\x00"  # where a text goes that is written already; no name of ours has that character
MARK = to_json(PLACE)


def written(page: Sequence[HeadSummary], last: str | None) -> bytes:
    """`HeadPage`, with a call of the encoder for each head; in a thread."""
    return b'{"heads":[' + b",".join(map(_head, page)) + b'],"next":' + to_json(last) + b"}"


def _head(head: HeadSummary) -> bytes:
    content, stored = HeadView.plain(head), list[bytes]()
    for part in (content, *content["versions"]):  # in the order in which they are written
        for name in ("labels", "metrics"):
            if isinstance(part[name], Written):
                stored.append(part[name].text.encode())
                part[name] = PLACE
    between = to_json(content).split(MARK)
    return b"".join(chain.from_iterable(zip_longest(between, stored, fillvalue=b"")))
