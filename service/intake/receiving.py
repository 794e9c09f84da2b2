"""A request that brings inputs, from its first byte to its answer: let in, received, answered, let go of."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from starlette.requests import Request

from adapters import tenancy
from service.access.principal import current
from service.context import Context
from service.intake import forms
from service.intake.disconnect import cancelled_on_disconnect


@asynccontextmanager
async def inputs(
    request: Request, ctx: Context, known: frozenset[str], names: Mapping[str, str | None] | None = None
) -> AsyncIterator[forms.InputForm]:
    """The inputs and options of a request, for as long as it takes to answer and the client is there.

    `known` are the fields of the route's form (`strict.of_form`); inputs come in those of `names`, which say the
    modality of each.
    Raises RateLimited, Overloaded, before the body is received where that is known, TooLarge, InvalidInput, starlette's
    ClientDisconnect.
    """
    who = current()
    ctx.limiter.take(who.tenant, who.name, 0)  # before a body is received that would be refused
    with ctx.predictor.traffic.admission.holding_bytes(_flow(request)) as take:
        form = await forms.receive(request, ctx.settings, take, ctx.uploads, known, names)
        try:
            ctx.limiter.take(who.tenant, who.name, len(form.inputs))
            async with cancelled_on_disconnect(request):
                yield form
        finally:
            form.close()


def _flow(request: Request) -> str | None:
    """The head, where it is known before the body is received."""
    named: str | None = request.path_params.get("head")
    if named is None and "head" in request.query_params:
        named = tenancy.qualified(current().tenant, request.query_params["head"])
    return (named or "").partition("@")[0] or None
