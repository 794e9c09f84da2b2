"""GET /jobs, GET /jobs/{id}, its events, and cancelling it."""

from typing import Annotated, Literal

from fastapi import Header, Query, Request
from fastapi.responses import StreamingResponse

from adapters.store import jobs as store
from adapters.store.whose import Whose
from service.access.principal import current, mine
from service.api.dependencies import PROBLEMS, Ctx
from service.api.job_schemas import JobPage, JobView
from service.api.routing import router as new_router
from service.wire import Text

router = new_router(prefix="/jobs", tags=["jobs"])
Status = Literal[
    "queued", "validating", "embedding", "training", "evaluating", "exporting", "verifying", "publishing", "succeeded",
    "failed", "rejected", "cancelled",
]  # fmt: skip


@router.get("", responses=PROBLEMS)
def list_jobs(
    ctx: Ctx,
    head: Text | None = None,
    status: Status | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Annotated[int | None, Query(ge=0, le=2**31 - 1, description="`next` of the page before.")] = None,
) -> JobPage:
    """Jobs, the last accepted first."""
    who = current()
    whose = Whose(who.tenant, who.patterns("read"))
    named = None if head is None else mine(head)
    page = store.list_page(ctx.engine, limit=limit, head=named, status=status, before=before, whose=whose)
    last = str(page[-1].sequence) if len(page) == limit else None
    return JobPage(jobs=[JobView.of(job) for job in page], next=last)


@router.get("/{job_id}", responses=PROBLEMS)
def get_job(ctx: Ctx, job_id: str) -> JobView:
    """One job with its progress and, at the end, its metrics and report."""
    return JobView.of(store.get(ctx.engine, job_id))


@router.get("/{job_id}/events", responses=PROBLEMS, response_class=StreamingResponse)
async def job_events(
    ctx: Ctx,
    request: Request,
    job_id: str,
    last_event_id: Annotated[int, Header(ge=0, le=2**31 - 1, description="Resume after this event.")] = 0,
) -> StreamingResponse:
    """Server-sent events: `status`, `progress`, `candidates` (race rows), `epoch` (losses), `retry`, `final`.

    `progress` has phase, done and total; an `epoch` is of a fit that trains the backbone's last part.

    A stream ends with the key or token that asked for it, within 15 seconds.
    """
    stream = await ctx.following.stream(job_id, last_event_id, lambda: ctx.access.lets_in(request.scope))
    return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


@router.post("/{job_id}/cancel", responses=PROBLEMS)
def cancel_job(ctx: Ctx, job_id: str) -> JobView:
    """End a job as cancelled, at once, whether it waits or runs. Ended jobs stay as they are."""
    job, _ = store.request_cancel(ctx.engine, job_id)
    ctx.sweep()
    return JobView.of(job)
