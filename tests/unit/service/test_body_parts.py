"""Bodies on their way out."""

import asyncio
from typing import Any

from service.limits import body_parts


def test_a_large_body_leaves_in_parts_and_a_small_one_as_it_is():
    sent = list[dict[str, Any]]()

    async def send(message: Any) -> None:
        sent.append(message)

    small = {"type": "http.response.body", "body": b"x" * body_parts.PART}
    whole = bytes(range(256)) * (body_parts.PART // 100)
    asyncio.run(body_parts.in_parts(send)(small))
    asyncio.run(body_parts.in_parts(send)({"type": "http.response.body", "body": whole, "more_body": False}))
    assert sent[0] is small
    assert b"".join(message["body"] for message in sent[1:]) == whole
    assert [message["more_body"] for message in sent[1:]] == [True, True, False]
    assert all(len(message["body"]) <= body_parts.PART for message in sent)
