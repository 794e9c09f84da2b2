"""The public HTTP API: all routes of all resources as one FastAPI application."""

import functools
import json
from collections.abc import Callable, Sequence
from functools import partial

from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match

from service import errors
from service.api import openapi

METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]


def _nowhere(routes: Sequence[BaseRoute]) -> Callable[[Request, str], None]:
    """405 with every method that there is at a path, 404 where there is none."""

    def answer(request: Request, path: str) -> None:
        found = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
        allowed = sorted({method for route in found for method in getattr(route, "methods", None) or ()})
        if allowed:
            raise HTTPException(405, headers={"Allow": ", ".join(allowed)})
        raise HTTPException(404)

    return answer


def build() -> FastAPI:
    """The public HTTP API; `app.state.context` is set when the process has opened its parts."""
    from service import __version__
    from service.api import backbones, docs, finetune, jobs
    from service.api.admin import (
        audit,
        keys,  # fmt: skip
        quotas,
    )
    from service.api.heads import changes, drift, examples, heads, rollout, sampling
    from service.api.inference import bento, embed, predict, suggest
    from service.api.operations import health, replicas

    about = "Teach a frozen backbone a new task over HTTP."
    app = FastAPIOffline(title="Espalier", version=__version__, description=about, docs_url=None, redoc_url=None)
    docs.install(app)
    errors.install(app)
    app.router.routes[:] = [route for route in app.routes if getattr(route, "path", "") != app.openapi_url]
    app.router.add_api_route(str(app.openapi_url), _document(app), include_in_schema=False)
    modules = (
        predict, finetune, jobs, heads, rollout, drift, sampling, examples, changes, suggest, backbones, embed, keys,
        bento, replicas, health, quotas, audit,
    )  # fmt: skip
    for module in modules:
        app.include_router(module.router)
    # FastAPI would say "Not Found" with no word of help.
    routes = [route for module in modules for route in module.router.routes]
    app.add_api_route("/{path:path}", _nowhere(routes), methods=METHODS, include_in_schema=False)
    app.openapi = functools.cache(partial(openapi.with_problems, app.openapi))  # type: ignore[method-assign]
    return app


def _document(app: FastAPI) -> Callable[[], Response]:
    """FastAPI's own route makes it on the event loop, which it holds up for a third of a second."""

    @functools.cache
    def rendered() -> bytes:
        return json.dumps(app.openapi(), ensure_ascii=False).encode()

    def document() -> Response:
        return Response(rendered(), media_type=openapi.JSON)

    return document
