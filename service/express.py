"""The way in: what a page of another site asks is refused, and hot routes go straight to their functions.

A request for one of these goes past two routers. BentoML's middlewares and router, then FastAPI's, and its
dependencies, took half of what HTTP costs a /predict, 0.4 ms of a core (2 cores, busy; `python -m benchmarks layers`
tells what FastAPI alone takes). The routes stay in FastAPI as well: it documents them, and answers every other method.
"""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from service.access.same_site import READS, SameSite, refused, unframed

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
Endpoint = Callable[..., Awaitable["Response"]]  # (request, ctx)


class Express:
    """ASGI middleware in front of everything; `http()` makes the FastAPI application when it is first needed.

    `names` are those by which the service may be asked: see `service.access.same_site`.
    """

    def __init__(self, app: App, http: Callable[[], "FastAPI"], names: Iterable[str] = ()) -> None:
        self._app, self._http, self._same_site = app, http, SameSite(names)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        refusal = self._same_site.refusal(scope) if scope["type"] == "http" else None
        if refusal is not None:
            await refused(*refusal)(scope, receive, send)
            return
        if scope["type"] == "http" and scope["method"] in READS:
            send = unframed(send)
        await self._pass(scope, receive, send)

    async def _pass(self, scope: Scope, receive: Any, send: Any) -> None:
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
