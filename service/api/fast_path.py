"""The way in: what a page of another site asks is refused, who may ask is settled, and hot routes go straight to their
functions.

No request reaches BentoML's own routes: they know no limits and no problem+json, and one fetches URLs. It starts the
process and its parts (the ASGI lifespan); what its clients ask for is answered by `service.api.inference.bento`, and
`service.api.operations.health`.

A request for a hot route goes past FastAPI's router and dependencies as well (`python -m benchmarks layers` tells what
they take). The routes stay in FastAPI, too: it documents them, and answers every other method.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from starlette.requests import Request

from service.access.authorization import ANYBODY, Authorization
from service.access.principal import Call, calling
from service.access.response_headers import protecting
from service.access.same_site import SameSite
from service.audit.trail import Trail, acting
from service.limits.body_parts import in_parts
from service.operations import requests
from service.operations.access_log import Line
from service.operations.requests import Origin
from service.processes import draining, liveness
from service.quotas import headers
from service.quotas.limiter import Limiter

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.responses import Response

    from service.operations.tracing import Traces

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]
UNLIMITED = frozenset({"admin", "metrics"})  # verbs of routes that no rate bounds
Endpoint = Callable[..., Awaitable["Response"]]  # (request, ctx)


class FastPath:
    """The ASGI application. `app` is BentoML's, `http()` makes FastAPI's when it is first needed.

    `names` are those by which the service may be asked: see `service.access.same_site`. `authorization` says who may
    ask what, `limiter` how fast, once there is one, and `trail` records who asks for changes. `drain` are the seconds
    for which a process that is told to stop still takes requests. With `log` each answer is a line in the log, with
    `traces` a span.
    """

    def __init__(
        self,
        app: App,
        http: Callable[[], "FastAPI"],
        names: Iterable[str] = (),
        authorization: Authorization | None = None,
        drain: float = 0.0,
        trail: Trail | None = None,
        limiter: Callable[[], Limiter | None] = lambda: None,
        log: bool = False,
        traces: "Traces | None" = None,
    ) -> None:
        self._app, self._http, self._same_site = app, http, SameSite(names)
        self._authorization = authorization or Authorization()
        self._drain, self._trail, self._limiter = drain, trail or Trail(lambda: None), limiter
        self._log, self._traces = log, traces

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            liveness.beat_on(asyncio.get_running_loop())
            draining.HERE.await_signal(asyncio.get_running_loop(), self._drain)
            await self._app(scope, receive, self._trail.ending(send))
        elif scope["type"] == "http":
            await self._known(scope, receive, send)
        # else nothing here speaks it, and the server says so

    async def _known(self, scope: Scope, receive: Any, send: Any) -> None:
        """By its id, which every line and answer of it carries."""
        origin = requests.of(scope)
        if self._traces is not None:
            await self._traced(self._traces, origin, scope, receive, send)
            return
        with requests.answering(origin):
            await self._logged(scope, receive, requests.told(send, origin))

    async def _traced(self, traces: "Traces", origin: Origin, scope: Scope, receive: Any, send: Any) -> None:
        with traces.request(scope, origin) as span, requests.answering(span.origin):
            await self._logged(scope, receive, requests.told(send, origin, span.answered))

    async def _logged(self, scope: Scope, receive: Any, send: Any) -> None:
        if not self._log:
            await self._request(scope, receive, send)
            return
        line = Line(scope, send, self._trail.address)
        await self._request(scope, receive, line.send)
        line.write()

    async def _request(self, scope: Scope, receive: Any, send: Any) -> None:
        send = protecting(in_parts(send))
        refusal = self._same_site.refusal(scope)
        if refusal is not None:
            self._trail.refuse(scope, 403)
            await _not_from_there(*refusal)(scope, receive, send)
            return
        call = None
        try:
            call = await self._authorization.authorize(scope)
            send = self._told(call, send)
            self._take(call)
        except Exception as error:
            response = await _refusal(scope, receive, error)
            self._trail.refuse(scope, response.status_code, call)
            await response(scope, receive, send)
            return
        with calling(call):
            await self._followed(scope, receive, send, call)

    def _told(self, call: Call, send: Any) -> Any:
        """Answers to whom rates bound tell what is left of them."""
        who, limiter = call.principal, self._limiter()
        if call is ANYBODY or limiter is None or not limiter.caller(who.tenant, who.name).policies:
            return send
        return headers.telling(send, limiter, who.tenant, who.name)

    def _take(self, call: Call) -> None:
        """Raises RateLimited. Whoever sets limits can always undo them, and whoever watches sees what goes on."""
        limiter = self._limiter()
        if call is not ANYBODY and call.verb not in UNLIMITED and limiter is not None:
            limiter.take(call.principal.tenant, call.principal.name)

    async def _followed(self, scope: Scope, receive: Any, send: Any, call: Call) -> None:
        """What may change something leaves a row in the audit log."""
        followed = self._trail.follow(scope, call, send)
        if followed is None:
            await self._answered(scope, receive, send)
            return
        actor, send = followed
        with acting(actor):
            await self._answered(scope, receive, send)

    async def _answered(self, scope: Scope, receive: Any, send: Any) -> None:
        endpoint = self._routes.get((scope["method"], scope["path"]))
        if endpoint is None:
            await self._http()(scope, receive, send)
        else:
            scope["app"] = self._http()
            request = Request(scope, receive, send)
            await (await _answer(endpoint, request))(scope, receive, send)

    @cached_property
    def _routes(self) -> dict[tuple[str, str], Endpoint]:
        from service.api.inference import predict

        return {("POST", "/predict"): predict.predict}


def _not_from_there(code: str, detail: str, item: str) -> "Response":
    from service.errors import problem

    return problem(403, "Not from there", detail, code, item=item)


async def _refusal(scope: Scope, receive: Any, error: Exception) -> "Response":
    from service import errors

    return await errors.respond(Request(scope, receive), error)


async def _answer(endpoint: Endpoint, request: Request) -> "Response":
    """What the function says, or its error as the table says it."""
    from service import errors
    from service.api import dependencies

    try:
        return await endpoint(request, await dependencies.context(request))
    except Exception as error:
        return await errors.respond(request, error)
