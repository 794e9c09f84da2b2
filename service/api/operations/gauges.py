"""The metrics page, and gauges of what this process holds, which are looked at when somebody asks and every second."""

import logging
import threading

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy.exc import SQLAlchemyError

from adapters.store import jobs, leases
from service import telemetry
from service.context import Context
from service.limits.connections import Connection
from service.processes import metric_files

EVERY = 1.0  # seconds between looks, where another process may be asked for what this one has


def render(ctx: Context) -> tuple[bytes, str]:
    """The metrics page, of all serving processes, and its content type. Never waits for the database."""
    _look(ctx)
    return generate_latest(metric_files.together(telemetry.REGISTRY)), CONTENT_TYPE_LATEST


def keep_current(ctx: Context) -> None:
    """Keep gauges current that a scrape must not wait for, and those that another process may be asked for."""
    threading.Thread(target=_keep_looking, args=(ctx,), name="gauges", daemon=True).start()


def _keep_looking(ctx: Context) -> None:
    pause = threading.Event()
    while True:
        _look(ctx)
        _count_jobs(ctx)
        pause.wait(EVERY)


def _count_jobs(ctx: Context) -> None:
    try:
        asked, following = jobs.unfinished_by_stage(ctx.engine)
        telemetry.JOBS_UNFINISHED.set(asked)
        telemetry.NEXT_STAGES_UNFINISHED.set(following)
        telemetry.WORK_WAITING.set(leases.count_waiting(ctx.engine))
        telemetry.JOBS_RUNNING.set(leases.count_held(ctx.engine))
    except SQLAlchemyError:  # it is asked again in a moment; the figures stay what they were
        logging.getLogger("espalier.telemetry").debug("the database did not say how many jobs there are")


def _look(ctx: Context) -> None:
    live, admission, lanes = ctx.predictor.live, ctx.predictor.traffic.admission, ctx.predictor.traffic.lanes
    count, size = live.loaded()
    telemetry.CONNECTIONS.set(len(Connection.watch.connections))
    telemetry.UPLOAD_BYTES.set(ctx.uploads.bytes)
    telemetry.TEMPORARY_BYTES.set(ctx.uploads.temporary)
    telemetry.WAITING.set(admission.load)
    telemetry.WAITING_SECONDS.set(lanes.seconds(admission.load))
    telemetry.WAITING_BYTES.set(admission.bytes)
    telemetry.CACHE_BYTES.set(ctx.predictor.memory.bytes)
    telemetry.REPLICAS.set(ctx.heartbeat.living)
    telemetry.REPLICAS_BEHIND.set(ctx.heartbeat.behind)
    telemetry.GENERATION.set(live.generation)
    telemetry.ROLLOUTS.set(len(live.rollouts.running))
    telemetry.HEADS_LOADED.set(count)
    telemetry.HEAD_BYTES.set(size)
