"""JSON bodies: received within a bound, read and checked in a thread, so that none holds up the event loop."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from fastapi import Request
from pydantic import TypeAdapter, ValidationError

from adapters.errors import InvalidInput, TooLarge
from service.intake import strict, uploads
from service.limits import json_text

if TYPE_CHECKING:
    from service.context import Context

AT_ONCE = 4 << 10  # bytes that are read where they are: a trip to a thread costs more
VALUES, BYTES_A_VALUE = 20_000, 24  # a body may have so many values, and one more for each so many bytes
# In the place of an error: which of several types pydantic tried, no name of anything that was sent.
TRIED = re.compile(r"(function|constrained|literal|tagged|union|nullable|lax|json)\b.*\[", re.DOTALL)
LONGEST_TYPE = 200  # characters of a Content-Type


class Checked(Request):
    """A request whose body has been read: FastAPI is given what came of it."""

    found: Any = None

    async def body(self) -> bytes:
        """Anything but nothing: FastAPI asks for the JSON only where there is a body."""
        return b"" if self.found is None else b"read"

    async def json(self) -> Any:
        """The checked model, which FastAPI's own check lets pass as it is."""
        return self.found


@asynccontextmanager
async def received(request: Request, model: Any, context: "Context") -> AsyncIterator[Checked]:
    """The request with its body checked, for as long as it is worked on.

    Raises TooLarge, Overloaded, InvalidInput, starlette's ClientDisconnect.
    """
    _check_type(request.headers.get("content-type", ""))
    with context.uploads.holding() as take:
        body = await uploads.read_body(request, context.settings.max_json_bytes, take)
        checked = Checked(request.scope, request.receive)
        if len(body) <= AT_ONCE:
            checked.found = read(body, model)
        else:
            checked.found = await anyio.to_thread.run_sync(read, body, model)
        del body
        yield checked


def _check_type(content_type: str) -> None:
    kind = content_type[:LONGEST_TYPE].partition(";")[0].strip().lower()
    if len(content_type) > LONGEST_TYPE or not (kind == "application/json" or kind.endswith("+json")):
        raise InvalidInput(f"send JSON with Content-Type: application/json, not {kind[:100] or 'without one'!r}")


def read(body: bytes, model: Any) -> Any:
    """JSON → a checked `model`. Raises InvalidInput that names an unknown field, else the first thing that is wrong."""
    try:
        return TypeAdapter(model).validate_python(values(body))
    except ValidationError as error:
        wrong = error.errors(include_url=False, include_input=False)
        for one in wrong:  # first of all: a misspelt field is also one that is missing
            if one["type"] == "extra_forbidden":
                strict.check_body(one["loc"], model)
        first = wrong[0]
        # A key of the body may be in it: of any length, and with halves of surrogate pairs, which no answer can carry.
        parts = [str(part) for part in first["loc"] if not TRIED.match(str(part))]
        where = ".".join(parts)[:200].encode("utf-8", "replace").decode()
        raise InvalidInput(f"{where}: {first['msg']}" if where else first["msg"], item=where or None) from None


def values(body: bytes) -> Any:
    """JSON → its value, bounded. Raises InvalidInput, TooLarge."""
    if not body.strip():
        raise InvalidInput("the request has no body; send a JSON object")
    try:
        return json_text.loads(body.decode("utf-8-sig"), VALUES + len(body) // BYTES_A_VALUE)
    except UnicodeDecodeError as error:
        raise InvalidInput(f"the body is not UTF-8 (byte {error.start}); send JSON as UTF-8") from None
    except json_text.TooMany as error:
        raise TooLarge(f"the body is too large: {error} in {len(body):,} bytes; send it in several requests") from None
    except json_text.Twice as error:
        raise InvalidInput(f"in the body {error}", item=error.name) from None
    except ValueError as error:
        raise InvalidInput(f"the body is not JSON that can be read: {str(error)[:100]}") from None
