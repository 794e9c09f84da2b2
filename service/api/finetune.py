"""POST /finetune."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from service import jobs, uploads
from service.api import PROBLEMS, Ctx
from service.openapi import FINETUNE_FORM
from service.schemas import JobView
from service.submissions import Desk

router = APIRouter(tags=["finetune"])


@router.post(
    "/finetune", status_code=202, response_model=JobView,
    responses=PROBLEMS | {200: {"model": JobView, "description": "Ended within `wait`."}}, openapi_extra=FINETUNE_FORM,
)  # fmt: skip
async def finetune(
    request: Request,
    ctx: Ctx,
    wait: Annotated[float, Query(ge=0, le=60, description="Seconds to wait for the end of the job.")] = 0,
    idempotency_key: Annotated[str | None, Header(description="The same key and body give the same job.")] = None,
) -> JSONResponse:
    """Teach a head from labeled images. `202` means that the job survives a crash of any process."""
    desk = Desk(ctx.settings, ctx.engine, ctx.artifacts)
    with await uploads.receive(request, max_bytes=ctx.settings.max_finetune_bytes) as upload:
        job = await run_in_threadpool(desk.submit, upload, idempotency_key)
    job, ended = await jobs.wait(ctx.engine, job, wait)
    body = JobView.of(job).model_dump(mode="json")
    return JSONResponse(body, 200 if ended and wait else 202, headers={"Location": f"/jobs/{job.id}"})
