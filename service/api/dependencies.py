"""What every route takes: the open parts of its process; and what each may refuse with."""

from typing import Annotated

from fastapi import Depends
from starlette.requests import HTTPConnection

from adapters.errors import NotReady
from service.context import Context
from service.wire import Problem

PROBLEMS: dict[int | str, dict[str, object]] = {
    "4XX": {"model": Problem, "description": "The request is at fault; `code` and `item` say how."},
    "5XX": {"model": Problem, "description": "We are at fault, or not ready yet."},
}


async def context(connection: HTTPConnection) -> Context:
    """The open parts of this process. Raises NotReady before they are open.

    Async although it awaits nothing: FastAPI would send a plain function to a thread, at every request.
    """
    found: Context | None = getattr(connection.app.state, "context", None)
    if found is None:
        raise NotReady("the service is starting")
    return found


Ctx = Annotated[Context, Depends(context)]
