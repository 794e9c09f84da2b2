"""How every route answers that accepts a job: 202 with the job and where it is, or 200 once it has ended."""

from typing import Annotated

from fastapi import Header, Query
from fastapi.responses import JSONResponse

from adapters.types import Job
from service.api import PROBLEMS, Context
from service.schemas import JobView
from service.submissions import MAX_KEY

Wait = Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the end of the job.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key", min_length=1, max_length=MAX_KEY,
        description="The same key and body give the same job.",
    ),
]  # fmt: skip
RESPONSES = PROBLEMS | {200: {"model": JobView, "description": "Ended within `wait`."}}


async def answer(ctx: Context, job: Job, wait: float) -> JSONResponse:
    """The job as it is now, or at its end if that comes in time."""
    job, ended = await ctx.following.wait(job, wait)
    body = JobView.of(job).model_dump(mode="json")
    return JSONResponse(body, 200 if ended and wait else 202, headers={"Location": f"/jobs/{job.id}"})
