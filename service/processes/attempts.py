"""One attempt at a job that a worker has a lease on, and what follows from how it ended."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace

from adapters import finetune as pipeline
from adapters import spans
from adapters.errors import Cancelled
from adapters.finetune import Durably, TrainingContext
from adapters.store import jobs, leases
from adapters.store.leases import GaveWay, Lease, LeaseLost
from adapters.store.objects import blobs
from service.processes import failures
from service.processes.failures import Failure
from service.processes.workflows import StepFailed, Workflows

log = logging.getLogger("espalier.worker")
GAVE_WAY = "gave way"
ATTEMPTS = 5  # times that a job is taken up again after its worker died, before it counts as the cause


def attempt(lease: Lease, training: TrainingContext, workflows: Workflows) -> str | Failure:
    """Work at a job; returns its end, or why it has none."""
    if lease.deaths > ATTEMPTS:
        message = f"its worker died {lease.deaths} times at work on this job; the worker's log has more"
        return Failure("worker_lost", message, final=True)
    fenced = replace(training, engine=leases.fenced(training.engine, lease))
    try:
        return workflows.run(lease, lambda durably: pipeline.finetune(lease.job_id, fenced, _traced(durably)))
    except LeaseLost:
        return "lost"
    except Cancelled:
        return "cancelled"
    except GaveWay:
        return GAVE_WAY
    except StepFailed as error:
        return error.failure
    except Exception as error:
        if _is_over(training, lease):
            log.info("the attempt at the job %s ended after the job: %s", lease.job_id, failures.brief(error))
            return "lost"
        log.exception("an attempt at the job %s failed", lease.job_id)
        return failures.of(error)


def _is_over(training: TrainingContext, lease: Lease) -> bool:
    """Whether nothing is left to be done for a job: what the engine kept of its steps may be swept under an attempt."""
    with contextlib.suppress(Exception):  # the database is away, which is what the attempt failed of
        return jobs.is_settled(training.engine, lease.job_id)
    return False


def settle(lease: Lease, found: str | Failure, training: TrainingContext, retries: int) -> None:
    """End the job, or have it tried again, unless it is no longer ours."""
    with contextlib.suppress(LeaseLost):
        if isinstance(found, Failure):
            _try_again(lease, found, training, retries)
        elif found == "cancelled":
            _end(lease, found, None, training)
        elif found == GAVE_WAY:
            leases.give_back(training.engine, lease)


def _try_again(lease: Lease, failure: Failure, training: TrainingContext, retries: int) -> None:
    tries = failure.tries(retries)
    if lease.failures < tries:
        leases.postpone(training.engine, lease, failure.error(), failures.pause(lease.failures))
    else:
        _end(lease, "failed", failure.error(lease.failures + 1 if tries else 0), training)


def _end(lease: Lease, status: str, error: dict[str, object] | None, training: TrainingContext) -> None:
    jobs.abandon(leases.fenced(training.engine, lease), lease.job_id, status, error)
    blobs.sweep(training.engine, training.artifacts)


def _traced(durably: Durably) -> Durably:
    """Each step is a span; one that was done in an earlier attempt is a short one."""

    def run(name: str, step: Callable[..., object], *arguments: object) -> object:
        with spans.span(name):
            return durably(name, step, *arguments)

    return run
