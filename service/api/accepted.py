"""How every route answers that accepts a job: 202 with the job and where it is, or 200 once it has ended."""

import time
from functools import partial
from typing import Annotated, Literal

from fastapi import Header, Query
from fastapi.responses import JSONResponse
from pydantic import Field

from adapters.runtime.queueing import aside
from adapters.types import Job
from service.api.dependencies import PROBLEMS
from service.api.job_schemas import JobView
from service.context import Context
from service.intake.submissions import MAX_KEY
from service.replicas.everywhere import LONGEST, served
from service.replicas.views import ReplicasView

Seconds = Annotated[float, Field(ge=0, le=LONGEST)]
Wait = Annotated[
    Seconds | Literal["all"],
    Query(
        description="Seconds to wait for the end of the job; `all`: up to 60, and until every serving process answers "
        "with the version that it made."
    ),
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=MAX_KEY,
        description="The same key and body give the same job.",
    ),
]  # fmt: skip
RESPONSES = PROBLEMS | {
    200: {"model": JobView, "description": "Ended within `wait`, and with `wait=all` served everywhere."}
}


async def answer(ctx: Context, job: Job, wait: float | Literal["all"]) -> JSONResponse:
    """The job as it is now, or at its end if that comes in time; with `all`, once it is served everywhere."""
    began, seconds = time.monotonic(), LONGEST if wait == "all" else wait
    job, done = await ctx.following.wait(job, seconds)
    view = await aside.run(partial(JobView.of, job))
    if done and wait == "all" and (generation := (job.report or {}).get("generation")):
        left = seconds - (time.monotonic() - began)
        found = await served(ctx.engine, ctx.following, job.request.head, generation, left)
        view.replicas, done = ReplicasView.of(found), found is not None and found.all
    return await aside.run(partial(_response, view, 200 if done and wait else 202))


def _response(view: JobView, status: int) -> JSONResponse:
    """A change of classes may name a hundred thousand, and the job tells them."""
    return JSONResponse(view.model_dump(mode="json"), status, headers={"Location": f"/jobs/{view.id}"})
