"""Runs in the worker of a service under test: lets a test stop or kill it in a chosen phase of a chosen job.

Python imports this at start because its folder is first on PYTHONPATH; the product knows nothing of it. What happens
is in the head's name: `kill-PHASE` (or `kill-PHASE-anything`) kills the worker the first time that a job of that head
enters PHASE, `kill-always-PHASE` every time, and `hold-PHASE` makes it wait there for the file `go` in the plan folder.
PHASE is a status, or `published`: the moment after the version's transaction, before DBOS knows of it.
"""

import os
import signal
import sys
import time
from pathlib import Path


def _reached(head: str, job_id: str, phase: str, plan: Path) -> None:
    verb, _, rest = head.partition("-")
    always = rest.startswith("always-")
    if rest.removeprefix("always-").partition("-")[0] != phase:
        return
    mark = plan / f"{job_id}-{phase}"
    if verb == "kill" and (always or not mark.exists()):
        with mark.open("a") as file:
            file.write("killed\n")
        os.kill(os.getpid(), signal.SIGKILL)
    if verb == "hold":
        mark.touch()
        while not (plan / "go").exists():
            time.sleep(0.02)


def _install(plan: Path) -> None:
    from adapters.store import jobs

    try:
        from adapters.store import publishing
    except ImportError:  # a release of before it had a file of its own
        from adapters.store import heads as publishing

    enter, publish = jobs.enter, publishing.publish

    def entered(engine, job_id, status):  # type: ignore[no-untyped-def]
        enter(engine, job_id, status)
        _reached(jobs.get(engine, job_id).request.head, job_id, status, plan)

    def published(engine, publication):  # type: ignore[no-untyped-def]
        number = publish(engine, publication)
        _reached(publication.request.head, publication.job_id, "published", plan)
        return number

    jobs.enter, publishing.publish = entered, published
    if attempts := os.environ.get("ESPALIER_TEST_ATTEMPTS"):
        from service.processes import attempts as limit

        limit.ATTEMPTS = int(attempts)


if "ESPALIER_TEST_PLAN" in os.environ and sys.orig_argv[-1] == "worker":
    _install(Path(os.environ["ESPALIER_TEST_PLAN"]))
