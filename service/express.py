"""The short way in: a request for one of a few hot routes goes straight to its function, past two routers.

BentoML's middlewares and router, then FastAPI's, and its dependencies, took half of what HTTP costs a /predict, 0.4 ms
of a core (2 cores, busy; `python -m benchmarks layers` tells what FastAPI alone takes). The routes stay in
FastAPI as well: it documents them, and answers every other method.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
Endpoint = Callable[..., Awaitable["Response"]]  # (request, ctx)


class Express:
    """ASGI middleware in front of everything; `http()` makes the FastAPI application when it is first needed."""

    def __init__(self, app: App, http: Callable[[], "FastAPI"]) -> None:
        self._app, self._http = app, http

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        endpoint = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if endpoint is None:
            await self._app(scope, receive, send)
        else:
            scope["app"] = self._http()
            request = Request(scope, receive, send)
            await (await _answer(endpoint, request))(scope, receive, send)

    @cached_property
    def _routes(self) -> dict[tuple[str, str], Endpoint]:
        from service.api import predict

        return {("POST", "/predict"): predict.predict}


async def _answer(endpoint: Endpoint, request: Request) -> "Response":
    """What the function says, or its error as the table says it."""
    from service import api, errors

    try:
        return await endpoint(request, await api.context(request))
    except Exception as error:
        return await errors.respond(request, error)
