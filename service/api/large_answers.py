"""JSON of answers that may be long: small ones at once, of long ones the list that makes them so in parts.

The bytes are the same either way. What writes them keeps Python's lock for as long as one call takes, 0.3 s for
300,000 numbers: so no call writes more than `aside.STEP` of them.
"""

import json
from collections.abc import Callable
from typing import Any

from fastapi.responses import Response
from pydantic import BaseModel
from pydantic_core import to_json

from adapters.runtime.queueing import aside

JSON = "application/json"
Encode = Callable[[Any], bytes]
FEW = 20  # entries of a list that are written in one call: jobs with their reports have some kilobytes each


def as_python_does(content: Any) -> bytes:
    """As starlette's JSONResponse has it: 1e-05, where pydantic writes 1e-5. Raises ValueError for NaN."""
    return json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


async def listing(
    name: str,
    items: Any,
    plain: Callable[[Any], list[Any]],
    numbers: int,
    before: dict[str, Any],
    after: dict[str, Any],
    encode: Encode = to_json,
) -> Response:
    """An object with `plain(items)` as `name` between two other parts.

    `items`: a list, or rows of an array; `numbers` are those that one of them has.
    """
    if len(items) * numbers <= aside.INLINE:
        return Response(encode(before | {name: plain(items)} | after), media_type=JSON)
    parts = await aside.in_steps(lambda some: encode(plain(some))[1:-1], items, numbers)
    begun, end = encode(before | {name: []})[:-2], b"]," + encode(after)[1:] if after else b"]}"
    body = await aside.run(lambda: b"".join([begun, b",".join(parts), end]), len(items) * numbers)
    return Response(body, media_type=JSON)


def written(model: BaseModel, **options: Any) -> bytes:
    """What `model_dump_json(**options)` gives; in a thread, with a call for each entry of its long lists.

    A page of a thousand jobs in one call keeps Python's lock for as long as all of them take.
    """
    lists = [name for name in type(model).model_fields if _is_long(getattr(model, name))]
    if not lists:
        return model.model_dump_json(**options).encode()
    fields = [_field(model, name, name in lists, options) for name in type(model).model_fields]
    return b"{" + b",".join(filter(None, fields)) + b"}"


def _is_long(value: Any) -> bool:
    return isinstance(value, list) and len(value) > FEW and isinstance(value[0], BaseModel)


def _field(model: BaseModel, name: str, long: bool, options: dict[str, Any]) -> bytes:
    """`"name":value`; nothing where the options leave it out."""
    if not long:
        return model.model_dump_json(include={name}, **options)[1:-1].encode()
    entries = [entry.model_dump_json(**options) for entry in getattr(model, name)]
    return f'"{name}":['.encode() + ",".join(entries).encode() + b"]"
