"""A request that brings images, from its first byte to its answer: let in, received, attended to, let go of."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.requests import Request

from service import forms
from service.attendance import attended
from service.context import Context


@asynccontextmanager
async def images(request: Request, ctx: Context, field: str = "images") -> AsyncIterator[forms.ImageForm]:
    """The images and options of a request, for as long as it takes to answer and the client is there.

    `field` is what the images are called in a form. Raises Overloaded, before the body is received where that is known,
    TooLarge, InvalidInput, starlette's ClientDisconnect.
    """
    with ctx.predictor.traffic.admission.holding_bytes(_flow(request)) as take:
        form = await forms.receive(request, ctx.settings, take, ctx.uploads, field)
        try:
            async with attended(request):
                yield form
        finally:
            form.close()


def _flow(request: Request) -> str | None:
    """The head, where it is known before the body is received."""
    head: str = request.path_params.get("head") or request.query_params.get("head", "")
    return head.partition("@")[0] or None
