"""Metric names and log format. No label carries a head's or a path's name: cardinality stays constant."""

import logging
import sys
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from adapters.store import jobs

if TYPE_CHECKING:
    from service.context import Context

REGISTRY = CollectorRegistry()
_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 10)

REQUESTS = Counter("espalier_predict_requests", "Answered /predict requests.", registry=REGISTRY)
IMAGES = Counter("espalier_predict_images", "Images in answered /predict requests.", registry=REGISTRY)
ANSWERS = Counter("espalier_predictions", "Predictions given (images × heads).", registry=REGISTRY)
SECONDS = Histogram(
    "espalier_predict_seconds",
    "From the first byte of a /predict body to its answer.",
    buckets=_SECONDS,
    registry=REGISTRY,
)
WAITING = Gauge("espalier_images_waiting", "Images that wait for a thread or are in one.", registry=REGISTRY)
GENERATION = Gauge("espalier_generation", "Changes to what is served that this process has seen.", registry=REGISTRY)
HEADS_LOADED = Gauge("espalier_heads_loaded", "Head graphs in memory.", registry=REGISTRY)
HEAD_BYTES = Gauge("espalier_head_bytes", "Bytes of head graphs in memory.", registry=REGISTRY)
HEAD_LOADS = Gauge("espalier_head_loads", "Head graphs loaded since the process started.", registry=REGISTRY)
HEAD_EVICTIONS = Gauge("espalier_head_evictions", "Head graphs evicted since the process started.", registry=REGISTRY)
JOBS_UNFINISHED = Gauge("espalier_jobs_unfinished", "Fine-tune jobs that wait or run.", registry=REGISTRY)


def predicted(images: int, heads: int, seconds: float) -> None:
    """Count one answered request."""
    REQUESTS.inc()
    IMAGES.inc(images)
    ANSWERS.inc(images * heads)
    SECONDS.observe(seconds)


def render(ctx: "Context") -> tuple[bytes, str]:
    """The metrics page and its content type."""
    live = ctx.predictor.live
    count, size = live.loaded()
    WAITING.set(ctx.predictor.lanes.waiting)
    GENERATION.set(live.generation)
    HEADS_LOADED.set(count)
    HEAD_BYTES.set(size)
    HEAD_LOADS.set(live.loads)
    HEAD_EVICTIONS.set(live.evictions)
    JOBS_UNFINISHED.set(jobs.count_unfinished(ctx.engine))
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST


def configure_logging(level: str) -> None:
    """One line a record to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger("espalier")
    root.handlers, root.propagate = [handler], False
    root.setLevel(level.upper())
