"""GET / and /metrics. /livez and /readyz are BentoML's own, fed by `Espalier.__is_ready__`."""

from fastapi import APIRouter
from fastapi.responses import Response

from service import __version__, telemetry
from service.api import Ctx

router = APIRouter(tags=["operations"])


@router.get("/")
def root() -> dict[str, str]:
    """What this is and where to read on."""
    return {"name": "Espalier", "version": __version__, "docs": "/docs", "ready": "/readyz", "metrics": "/metrics"}


@router.get("/metrics", response_class=Response)
def metrics(ctx: Ctx) -> Response:
    """Prometheus metrics; docs/reference/metrics.md explains each."""
    body, kind = telemetry.render(ctx)
    return Response(body, media_type=kind)
