"""HTTP at the door: one file a resource, routes that translate and delegate."""

from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection

from adapters.errors import NotReady
from service import errors
from service.context import Context
from service.schemas import Problem

PROBLEMS: dict[int | str, dict[str, object]] = {
    "4XX": {"model": Problem, "description": "The request is at fault; `code` and `item` say how."},
    "5XX": {"model": Problem, "description": "We are at fault, or not ready yet."},
}


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]


async def context(connection: HTTPConnection) -> Context:
    """The open parts of this process. Raises NotReady before they are open.

    Async although it awaits nothing: FastAPI would send a plain function to a thread, at every request.
    """
    found: Context | None = getattr(connection.app.state, "context", None)
    if found is None:
        raise NotReady("the service is starting")
    return found


Ctx = Annotated[Context, Depends(context)]


def _nowhere(path: str) -> None:
    raise HTTPException(404)


def build() -> FastAPI:
    """The public HTTP API; `app.state.context` is set when the process has opened its parts."""
    from service import __version__
    from service.api import backbones, changes, embed, examples, finetune, heads, health, jobs, predict, suggest

    # FastAPI's own /docs loads its scripts from a public CDN: blank where a self-hosted service has no way out.
    about = "Teach a frozen backbone a new task over HTTP."
    app = FastAPIOffline(title="Espalier", version=__version__, description=about, redoc_url=None)
    errors.install(app)
    for module in (predict, finetune, jobs, heads, examples, changes, suggest, backbones, embed, health):
        app.include_router(module.router)
    # FastAPI would say "Not Found" with no word of help. BentoML's own routes (/livez, /readyz, /bento) come first.
    app.add_api_route("/{path:path}", _nowhere, methods=METHODS, include_in_schema=False)
    return app


__all__ = ["PROBLEMS", "APIRouter", "Context", "Ctx", "Request", "build", "context"]
