"""DBOS, the engine of a job's steps: an attempt at a job is a workflow, and what its steps answered is kept.

Who may run an attempt, and what follows a dead one, is decided by leases (`adapters.store.leases`, docs/adr/0014), not
by DBOS: a workflow of its is never recovered. The next attempt is a workflow of its own, which takes over the answers
of the one before it where the release has the same steps.
"""

import contextlib
import logging
import secrets
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer, SetWorkflowID

from adapters.errors import Cancelled, CorruptArtifact
from adapters.finetune import Durably
from adapters.store.leases import GaveWay, Lease, LeaseLost
from service.processes import failures, setup
from service.processes.failures import Failure

log = logging.getLogger("espalier.worker")
WORKFLOWS = "3"  # of our steps: raise it when their order or answers change, so that no job resumes into new code
QUEUE = "finetune"  # of earlier releases
STOPS: dict[str, type[Exception]] = {"lost": LeaseLost, "cancelled": Cancelled, "gave way": GaveWay}


class StepFailed(Exception):
    """A step ended with an error, which is kept as what it means."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


class Workflows:
    """Runs attempts, one at a time."""

    def __init__(self, database: str) -> None:
        self._database = database
        self._work: Callable[[], str] = str
        self._ended: str | Exception | None = None

    def launch(self) -> None:
        """Connect, and bring DBOS's tables up to date. Raises what the database driver does."""
        config: DBOSConfig = {
            "name": "espalier",
            "system_database_url": self._database,
            "application_version": WORKFLOWS,  # by default a hash of the code
            "executor_id": secrets.token_hex(16),  # nobody's before: DBOS would run what it had left again
            "serializer": DBOSPortableJSONSerializer(),  # by default pickle
            "log_level": "ERROR",
        }
        setup.prepare_jobs_database(self._database)
        dbos = DBOS(config=config)
        self._workflow = DBOS.workflow(name="finetune")(lambda job_id: self._body())
        DBOS.launch()
        # It would try again by itself, without end and with pauses of a minute; an attempt fails instead, and the next
        # comes when the job's own pause is over.
        dbos._sys_db._retry_connection_errors = False
        DBOS.delete_queue(QUEUE)  # or it would start what an earlier release put there, beside what the leases say

    def run(self, lease: Lease, work: Callable[[Durably], str]) -> str:
        """Run an attempt: `work` with a way to run its steps durably. Returns and raises what it does."""
        known = {} if _spoiled(lease) else self._answers(lease)
        self._work = lambda: work(lambda name, step, *arguments: _durably(known, name, step, *arguments))
        identity = workflow_id(lease.job_id, lease.attempt)
        if DBOS.get_workflow_status(identity) is not None:  # one of the two databases was restored from a copy
            identity = f"{identity}-{lease.token[:8]}"
        return self._end_of(identity, lease.job_id)

    def _end_of(self, identity: str, job_id: str) -> str:
        """How the work ended, also where DBOS can't record it: the row of a job that is over may have been swept."""
        self._ended = None
        try:
            with SetWorkflowID(identity):
                self._workflow(job_id)
        except Exception:
            if self._ended is None:
                raise
        if isinstance(self._ended, Exception):
            raise self._ended
        return str(self._ended)

    def _body(self) -> str:
        """What DBOS sees: an attempt always ends well, for DBOS must not have to keep our exceptions either."""
        try:
            self._ended = self._work()
        except Exception as error:
            self._ended = error
        return type(self._ended).__name__

    def _answers(self, lease: Lease) -> dict[str, Any]:
        """What the steps of the last attempt that got anywhere answered, by name."""
        for attempt in range(lease.attempt - 1, 0, -1):
            found = DBOS.get_workflow_status(workflow_id(lease.job_id, attempt))
            if found is not None and found.app_version == WORKFLOWS:
                steps = DBOS.list_workflow_steps(found.workflow_id)
                answers = {step["function_name"]: step["output"] for step in steps if step["output"]}
                if answers:
                    return {name: answer for name, answer in answers.items() if "result" in answer}
        return {}

    def forget(self, lease: Lease) -> None:
        """Delete what is kept of a job that has ended."""
        with contextlib.suppress(Exception):  # retention comes by later
            DBOS.delete_workflows([workflow_id(lease.job_id, n) for n in range(1, lease.attempt + 1)])

    def close(self) -> None:
        """Disconnect."""
        DBOS.destroy(workflow_completion_timeout_sec=0)


def workflow_id(job_id: str, attempt: int) -> str:
    """The name of an attempt's workflow."""
    return job_id if attempt == 1 else f"{job_id}-{attempt}"


def _spoiled(lease: Lease) -> bool:
    """Whether what earlier steps left is damaged, so that they must be done again."""
    return lease.trouble is not None and lease.trouble["code"] == CorruptArtifact.code


def _durably(known: Mapping[str, Any], name: str, step: Callable[..., Any], *arguments: Any) -> Any:
    """Run a step, or use what it answered in an earlier attempt. Raises StepFailed, Cancelled, LeaseLost."""
    answer = DBOS.run_step({"name": name}, _answer, known.get(name), step, *arguments)
    if "failure" in answer:
        raise StepFailed(Failure(**answer["failure"]))
    if "stopped" in answer:
        raise STOPS[answer["stopped"]]("")
    return answer["result"]


def _answer(known: dict[str, Any] | None, step: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    """A step's result or failure as JSON: DBOS must not have to guess how to keep our exceptions."""
    if known is not None:
        return known
    try:
        return {"result": step(*arguments)}
    except tuple(STOPS.values()) as error:
        return {"stopped": next(name for name, kind in STOPS.items() if isinstance(error, kind))}
    except Exception as error:
        failure = failures.of(error)
        if not failure.final:
            log.exception("a step failed for a reason of ours")
        return {"failure": asdict(failure)}
