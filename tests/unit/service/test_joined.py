"""What leaves in one piece, and what must not wait for it."""

import asyncio
from typing import Any

from service.limits.joined import Joined


class Transport:
    """Keeps what is written, piece by piece."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.closed = False

    def write(self, data: bytes) -> None:
        assert not self.closed, "written behind the end"
        self.pieces.append(data)

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 7


def played(steps: Any) -> Transport:
    """What `steps(out)`, a coroutine, made of a transport, a turn of the loop after its end."""
    transport = Transport()

    async def play() -> None:
        await steps(Joined(transport, asyncio.get_running_loop()))  # type: ignore[arg-type]
        await asyncio.sleep(0)

    asyncio.run(play())
    return transport


def test_head_and_body_are_one_piece():
    async def steps(out: Joined) -> None:
        out.write(b"head ")
        out.write(b"body ")
        out.write(b"more")

    assert played(steps).pieces == [b"head body ", b"more"]


def test_a_head_does_not_wait_for_a_stream():
    async def steps(out: Joined) -> None:
        out.write(b"head ")
        await asyncio.sleep(0)
        out.write(b"event")

    assert played(steps).pieces == [b"head ", b"event"]


def test_a_head_without_a_body_leaves():
    async def steps(out: Joined) -> None:
        out.write(b"head")

    assert played(steps).pieces == [b"head"]


def test_closing_sends_what_waits_first():
    async def steps(out: Joined) -> None:
        out.write(b"head")
        out.close()

    transport = played(steps)
    assert transport.pieces == [b"head"] and transport.closed


def test_the_answer_behind_comes_behind():
    """Of pipelined requests each has a way out of its own over the same transport."""

    async def steps(out: Joined) -> None:
        out.write(b"head of HEAD ")
        following = Joined(out._transport, asyncio.get_running_loop())
        await asyncio.sleep(0)  # uvicorn begins the next in a task
        following.write(b"head ")
        following.write(b"body")

    assert played(steps).pieces == [b"head of HEAD ", b"head body"]


def test_all_else_is_the_transports():
    async def steps(out: Joined) -> None:
        assert out.get_write_buffer_size() == 7 and not out.is_closing()

    played(steps)
