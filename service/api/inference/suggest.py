"""POST /heads/{head}/suggest."""

from fastapi import Request

from adapters import suggest as pipeline
from service.api.dependencies import PROBLEMS, Ctx
from service.api.inference import shortened
from service.api.inference.schemas import SuggestResponse
from service.api.openapi import MAX_COUNT, SUGGEST_FORM
from service.api.routing import router as new_router
from service.intake import receiving, strict
from service.wire import reference

router = new_router(tags=["heads"])
FIELDS = strict.of_form(SUGGEST_FORM)


@router.post("/heads/{head}/suggest", responses=PROBLEMS, openapi_extra=SUGGEST_FORM, response_model_exclude_unset=True)
async def suggest(request: Request, ctx: Ctx, head: str) -> SuggestResponse:
    """Which of many unlabeled inputs to label next, the most instructive first.

    Send multipart `inputs` (repeated; or `images`, `texts`), or texts as JSON. Options: `count` (10), `on_error`
    (`fail` or `skip`). `head` may be a version or an alias, as in /predict.
    """
    async with receiving.inputs(request, ctx, FIELDS) as form:
        count, seconds = form.integer("count", 10, 1, MAX_COUNT), form.seconds("timeout", ctx.settings.predict_seconds)
        found = await pipeline.suggest(
            ctx.predictor, ctx.engine, form.inputs, reference(head), count, form.on_error(), seconds,
            form.modality,
        )  # fmt: skip
        read = sorted(set(range(len(form.inputs))) - {error.index for error in found.errors})
        cut = await shortened.told(ctx.predictor, form.inputs, read, found.head.modality)
    return SuggestResponse.of(found, cut)
