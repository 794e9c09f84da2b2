"""GET /, and what probes and scrapes ask for: answered on the event loop, which no thread and no database holds up."""

from fastapi.responses import Response

from adapters.errors import NotReady
from service import __version__
from service.api.dependencies import PROBLEMS, Ctx
from service.api.operations import gauges
from service.api.routing import router as new_router
from service.processes import draining

router = new_router(tags=["operations"])


@router.get("/", responses=PROBLEMS)
def root() -> dict[str, str]:
    """What this is and where to read on."""
    return {"name": "Espalier", "version": __version__, "docs": "/docs", "ready": "/readyz", "metrics": "/metrics"}


@router.get("/livez", response_class=Response)
async def livez() -> Response:
    """200 while the process lives and its event loop turns."""
    return Response("\n", media_type="text/plain")


router.add_api_route("/healthz", livez, methods=["GET"], include_in_schema=False)  # what BentoML calls it, too


@router.get("/readyz", response_class=Response, responses=PROBLEMS)
async def readyz(ctx: Ctx) -> Response:
    """200 once the default backbone is loaded and warm: heads in memory are answered from then on, else 503.

    It does not ask the database: without it, heads in memory are answered still, and what needs it gets 503. Nor is
    a process ready that was told to stop: what it is sent it still answers, for ESPALIER_DRAIN_SECONDS.
    """
    if draining.HERE.began:
        raise NotReady("the server is stopping")
    if not ctx.ready:
        raise NotReady("the default backbone is not loaded yet")
    return Response("\n", media_type="text/plain")


@router.get("/metrics", response_class=Response, responses=PROBLEMS)
async def metrics(ctx: Ctx) -> Response:
    """Prometheus metrics; docs/reference/metrics.md explains each."""
    body, kind = gauges.render(ctx)
    return Response(body, media_type=kind)
