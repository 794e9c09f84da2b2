"""Forms as a client sends them, read as the service does."""

import asyncio
from collections.abc import Mapping, Sequence

import httpx
from starlette.requests import Request

from service.intake import uploads
from service.intake.uploads import Upload


def received(data: Mapping[str, object], files: Sequence[tuple[str, tuple[str, bytes]]]) -> Upload:
    """Fields and (field, (file name, bytes)) as an upload, which has to be closed."""
    sent = httpx.Request("POST", "http://x", data=dict(data), files=list(files))
    body = sent.read()

    async def receive() -> dict[str, object]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", sent.headers["content-type"].encode())]
    request = Request({"type": "http", "method": "POST", "headers": headers}, receive)
    return asyncio.run(uploads.receive(request, max_bytes=2**30))
