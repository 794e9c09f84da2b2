"""Whether the client is still there: the work of one that has left is cancelled, not done for nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import ClientDisconnect, Request

PATIENCE = 0.25  # seconds before we listen: most requests are answered by then, and a task would be a waste on them


@asynccontextmanager
async def cancelled_on_disconnect(request: Request) -> AsyncIterator[None]:
    """Cancel what happens in here when the client leaves. Only once the body has been read.

    Raises starlette's ClientDisconnect.
    """
    task = asyncio.current_task()
    assert task is not None
    watch = _Watch(request, task)
    timer = asyncio.get_running_loop().call_later(PATIENCE, watch.begin)
    try:
        yield
    except asyncio.CancelledError:
        if not watch.left or task.uncancel():
            raise
        raise ClientDisconnect() from None
    finally:
        timer.cancel()
        watch.end()


class _Watch:
    """Waits for the message that the connection is gone."""

    def __init__(self, request: Request, task: "asyncio.Task[object]") -> None:
        self._request, self._task = request, task
        self._listener: asyncio.Task[None] | None = None
        self.left = False

    def begin(self) -> None:
        self._listener = asyncio.get_running_loop().create_task(self._listen())

    def end(self) -> None:
        if self._listener is not None:
            self._listener.cancel()

    async def _listen(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.left = True
        self._task.cancel()
