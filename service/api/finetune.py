"""POST /finetune."""

from collections.abc import Callable

from fastapi import Request
from fastapi.responses import JSONResponse

from service.api.accepted import RESPONSES, Key, Wait, answer
from service.api.dependencies import Ctx
from service.api.job_schemas import JobView
from service.api.openapi import FINETUNE_FORM
from service.api.routing import router as new_router
from service.context import Context
from service.database_threads import SUBMITTING
from service.intake import fields, json_forms, uploads
from service.intake.submissions import Submissions

router = new_router(tags=["finetune"])


@router.post(
    "/finetune", status_code=202, response_model=JobView, responses=RESPONSES, openapi_extra=FINETUNE_FORM
)  # fmt: skip
async def finetune(request: Request, ctx: Ctx, wait: Wait = 0, key: Key = None) -> JSONResponse:
    """Teach a head from labeled inputs, in a form, or texts as JSON.

    `202` means that the job survives a crash of any process.
    """
    submissions = Submissions(ctx.settings, ctx.engine, ctx.artifacts, ctx.predictor.memory.known, ctx.throttle)
    with ctx.uploads.holding() as take:
        with await _received(request, ctx, take) as upload:
            job = await SUBMITTING.run_slowly(submissions.submit, upload, key)
    return await answer(ctx, job, wait)


async def _received(request: Request, ctx: Context, take: Callable[[int], None]) -> uploads.Upload:
    """The form, or the JSON object that says the same. Raises InvalidInput, TooLarge, StorageFull."""
    if json_forms.is_json(uploads.media_type(request)):
        return await json_forms.receive(
            request, ctx.settings.max_json_bytes, take, ctx.uploads, take, ctx.settings.max_form_parts
        )
    return await uploads.receive(
        request, max_bytes=ctx.settings.max_finetune_bytes, max_parts=ctx.settings.max_form_parts,
        max_field_bytes=ctx.settings.max_field_bytes, take=take, charge=take, space=ctx.uploads,
        throttle=ctx.throttle, others=[fields.AS_JSON],
    )  # fmt: skip
