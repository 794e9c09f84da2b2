"""POST /finetune."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from service import uploads
from service.api import Ctx
from service.api.accepted import RESPONSES, Key, Wait, answer
from service.openapi import FINETUNE_FORM
from service.schemas import JobView
from service.submissions import Desk

router = APIRouter(tags=["finetune"])


@router.post(
    "/finetune", status_code=202, response_model=JobView, responses=RESPONSES, openapi_extra=FINETUNE_FORM
)  # fmt: skip
async def finetune(request: Request, ctx: Ctx, wait: Wait = 0, key: Key = None) -> JSONResponse:
    """Teach a head from labeled images. `202` means that the job survives a crash of any process."""
    desk = Desk(ctx.settings, ctx.engine, ctx.artifacts, ctx.predictor.memory.known, ctx.courtesy)
    most = ctx.settings.max_finetune_bytes
    with await uploads.receive(request, max_bytes=most, courtesy=ctx.courtesy) as upload:
        job = await run_in_threadpool(desk.submit, upload, key)
    return await answer(ctx, job, wait)
