"""The kind of route that all of ours are: what it costs is kept here, whatever the route does.

- A plain function runs in a thread, among those that read or those that write, and its answer is made into JSON there.
- An option in the query that the route does not know is refused.
- A JSON body is received within its bound, and read and checked in a thread (`service.intake.json_bodies`).
"""

import functools
import inspect
from collections.abc import Callable, Coroutine
from typing import Any, get_args

from fastapi import APIRouter, Request
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import Query
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.convertors import StringConvertor, register_url_convertor

from adapters.store import jobs
from service.access.principal import may_see, mine
from service.access.same_site import READS
from service.api import large_answers
from service.database_threads import READING, WRITING, Threads
from service.intake import json_bodies, strict

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Route(APIRoute):
    """A route of a `router`."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        if not inspect.iscoroutinefunction(endpoint):
            threads = READING if set(options.get("methods") or ["GET"]) <= READS else WRITING
            endpoint = _threaded(endpoint, threads, options)
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Handler:
        """FastAPI's, which finds a body already read and checked."""
        handle = self._strictly(super().get_route_handler())
        if self.body_field is None:
            return handle
        model = self.body_field.field_info.annotation

        async def handle_with_body(request: Request) -> Response:
            context = getattr(request.app.state, "context", None)
            if context is None:  # it is told so further down
                return await handle(request)
            async with json_bodies.received(request, model, context) as checked:
                return await handle(checked)

        return handle_with_body

    def _strictly(self, handle: Handler) -> Handler:
        """Refuses what the query has that nothing reads."""
        declared = {field.alias for field in get_flat_params(self.dependant) if isinstance(field.field_info, Query)}
        numbers = frozenset(field.alias for field in get_flat_params(self.dependant) if _is_number(field))
        known = declared | strict.also_in_query(self.openapi_extra or {})

        async def checked(request: Request) -> Response:
            strict.check(request.query_params, known, "option")
            strict.check_numbers({**request.path_params, **request.query_params}, numbers)
            await _own(request)
            return await handle(request)

        return checked


def _is_number(field: Any) -> bool:
    annotation = field.field_info.annotation
    return bool({int, float} & {annotation, *get_args(annotation)})


async def _own(request: Request) -> None:
    """What an address names becomes the caller's tenant's, by rule: heads by name, jobs by the head that they are of.

    Raises Forbidden for a head beyond the caller's scopes; JobNotFound for a job beyond them or of another tenant, as
    for one that is not there.
    """
    named = request.path_params
    if "head" in named:
        named["head"] = mine(named["head"])
    context = getattr(request.app.state, "context", None)
    if "job_id" in named and context is not None:
        head = await READING.run(jobs.head_of, context.engine, named["job_id"])
        if not may_see(head):
            raise jobs.missing(named["job_id"])


def router(**options: Any) -> APIRouter:
    """A router whose routes are such."""
    return APIRouter(route_class=Route, **options)


def all_but(kind: str, *words: str) -> None:
    """`{name:kind}` in a path: what is between slashes but words that are routes of their own.

    Else those had the methods of the route with the name, too.
    """
    regex = f"(?!(?:{'|'.join(words)})(?:/|$))[^/]+"
    register_url_convertor(kind, type("AllBut", (StringConvertor,), {"regex": regex})())


def _threaded(endpoint: Callable[..., Any], threads: Threads, options: dict[str, Any]) -> Callable[..., Any]:
    """The same as a coroutine function. Models and dictionaries of one status become JSON in the thread, not on the
    event loop."""
    without_none = options.get("response_model_exclude_none") is True

    def work(*arguments: Any, **values: Any) -> Any:
        answer = endpoint(*arguments, **values)
        if not isinstance(answer, BaseModel | dict):
            return answer
        headers = values["response"].headers if "response" in values else {}
        if isinstance(answer, BaseModel):
            body = large_answers.written(answer, exclude_none=without_none)
        else:
            body = to_json(answer, inf_nan_mode="null")
        return Response(body, media_type="application/json", headers=_sent(headers))

    @functools.wraps(endpoint)
    async def run(*arguments: Any, **values: Any) -> Any:
        return await threads.run(work, *arguments, **values)

    return run


def _sent(headers: Any) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "content-length"}
