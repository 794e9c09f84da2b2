"""POST /finetune."""

from fastapi import Request
from fastapi.responses import JSONResponse

from service.api.accepted import RESPONSES, Key, Wait, answer
from service.api.dependencies import Ctx
from service.api.job_schemas import JobView
from service.api.openapi import FINETUNE_FORM
from service.api.routing import router as new_router
from service.database_threads import SUBMITTING
from service.intake import uploads
from service.intake.submissions import Submissions

router = new_router(tags=["finetune"])


@router.post(
    "/finetune", status_code=202, response_model=JobView, responses=RESPONSES, openapi_extra=FINETUNE_FORM
)  # fmt: skip
async def finetune(request: Request, ctx: Ctx, wait: Wait = 0, key: Key = None) -> JSONResponse:
    """Teach a head from labeled images. `202` means that the job survives a crash of any process."""
    submissions = Submissions(ctx.settings, ctx.engine, ctx.artifacts, ctx.predictor.memory.known, ctx.throttle)
    with ctx.uploads.holding() as take:
        with await uploads.receive(
            request, max_bytes=ctx.settings.max_finetune_bytes, max_parts=ctx.settings.max_form_parts,
            max_field_bytes=ctx.settings.max_field_bytes, take=take, charge=take, space=ctx.uploads,
            throttle=ctx.throttle,
        ) as upload:  # fmt: skip
            job = await SUBMITTING.run_slowly(submissions.submit, upload, key)
    return await answer(ctx, job, wait)
