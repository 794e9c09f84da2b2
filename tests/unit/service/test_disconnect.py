"""Work is cancelled when its client leaves, and only then."""

import asyncio

import pytest
from starlette.requests import ClientDisconnect, Request

from service.intake import disconnect
from service.intake.disconnect import cancelled_on_disconnect


class Line:
    """A connection that can be hung up."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.request = Request({"type": "http", "method": "POST", "path": "/", "headers": []}, self._receive)

    async def _receive(self) -> dict:
        await self.gone.wait()
        return {"type": "http.disconnect"}


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    monkeypatch.setattr(disconnect, "PATIENCE", 0.0)


async def others() -> set[asyncio.Task]:
    await asyncio.sleep(0.01)
    return asyncio.all_tasks() - {asyncio.current_task()}


def test_work_that_ends_is_left_alone_and_nothing_keeps_listening():
    async def main() -> None:
        async with cancelled_on_disconnect(Line().request):
            await asyncio.sleep(0.01)
        assert not await others()

    asyncio.run(main())


def test_work_of_a_client_that_leaves_is_cancelled():
    async def main() -> None:
        line, cancelled = Line(), False
        with pytest.raises(ClientDisconnect):
            async with cancelled_on_disconnect(line.request):
                line.gone.set()
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    cancelled = True
                    raise
        assert cancelled and not asyncio.current_task().cancelling() and not await others()

    asyncio.run(main())


def test_a_cancellation_from_elsewhere_stays_one():
    async def main() -> None:
        async def work() -> None:
            async with cancelled_on_disconnect(Line().request):
                await asyncio.sleep(60)

        task = asyncio.create_task(work())
        await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


def test_errors_pass_through():
    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            async with cancelled_on_disconnect(Line().request):
                raise ZeroDivisionError

    asyncio.run(main())
