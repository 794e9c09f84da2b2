"""A JSON body that says what a form would, where inputs are texts: {"head": "intents", "texts": ["…"], "top_k": 3}.

Each string of `texts` or `inputs` becomes a part of its own, a list of heads as many fields, and any other value the
text that a form would have: what follows is the same for both.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

import anyio.to_thread
from starlette.requests import Request

from adapters.errors import InvalidInput, TooLarge
from service.intake import fields, json_bodies, uploads
from service.intake.multipart import PART_BYTES, Part, Sink
from service.limits.space import Space

JSON = "application/json"
MANY = frozenset({"head"})  # fields that a form may repeat


def is_json(kind: str) -> bool:
    """Whether a media type, lower case and without parameters, is JSON."""
    return kind == JSON or kind.endswith("+json")


async def receive(
    request: Request,
    max_bytes: int,
    take: Callable[[int], None],
    space: Space | None = None,
    charge: Callable[[int], None] = uploads.unbounded,
    max_parts: int = uploads.MAX_PARTS,
) -> uploads.Upload:
    """The body as an upload of text parts; all arguments are those of `uploads.receive`.

    Raises what these do, TooLarge, InvalidInput, StorageFull.
    """
    body = await uploads.read_body(request, max_bytes, take)
    if len(body) <= json_bodies.AT_ONCE:
        return _upload(body, charge, space, max_parts)
    return await anyio.to_thread.run_sync(_upload, body, charge, space, max_parts)


def _upload(body: bytes, charge: Callable[[int], None], space: Space | None, max_parts: int) -> uploads.Upload:
    found = json_bodies.values(body)
    if not isinstance(found, dict):
        raise InvalidInput('the body must be a JSON object: {"head": "…", "texts": ["…"]}')
    parts = _Parts(Sink(space), charge, max_parts)
    try:
        for name, value in found.items():
            parts.add(name, value)
        parts.sink.seal()
    except BaseException:
        parts.sink.close()
        raise
    return uploads.Upload(parts.made, parts.sink)


class _Parts:
    """Parts as they are made; their bytes go to one sink."""

    def __init__(self, sink: Sink, charge: Callable[[int], None], most: int) -> None:
        self.sink, self.made, self._charge, self._most = sink, list[Part](), charge, most

    def add(self, name: str, value: Any) -> None:
        """A field of the body. Raises InvalidInput, TooLarge."""
        if value is None:
            return  # as if it had not been sent
        if name in fields.known():
            if not fields.may_be_text(name):
                raise InvalidInput(
                    f"JSON carries no {name}; send them as files of a form, or one as the body", item=name
                )
            for index, text in enumerate(value if isinstance(value, list) else [value]):
                self._put(name, _text(text, f"{name}[{index}]"), f"{name}[{index}]")
        elif name in MANY and isinstance(value, list):
            for index, text in enumerate(value):
                self._put(name, _text(text, f"{name}[{index}]"), f"{name}[{index}]")
        else:
            self._put(name, value if isinstance(value, str) else json.dumps(value), name)

    def _put(self, name: str, text: str, item: str) -> None:
        if len(self.made) >= self._most:  # each is an object that what follows looks at, on the event loop
            raise TooLarge(f"the body has more than {self._most:,} inputs and options; send fewer in each request")
        self._charge(PART_BYTES)
        try:
            name.encode()
            data = text.encode()
        except UnicodeEncodeError:
            item = item.encode("utf-8", "replace").decode()[:200]
            raise InvalidInput(
                f"{item} holds half a character (a lone surrogate); send whole ones", item=item
            ) from None
        start = self.sink.size
        self.sink.write(memoryview(data))
        self.made.append(Part(name, None, "", "", len(data), "utf-8", self.sink, start))


def _text(value: Any, item: str) -> str:
    if isinstance(value, str):
        return value
    raise InvalidInput(f"{item} must be a string, not {_kind(value)}", item=item)


def _kind(value: Any) -> str:
    names: Mapping[type, str] = {type(None): "null", bool: "true or false", int: "a number", float: "a number",
                                 list: "a list", dict: "an object"}  # fmt: skip
    return names.get(type(value), "that")
