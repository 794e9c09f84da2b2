"""POST /heads/{head}/suggest."""

from functools import partial
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from adapters import suggest as pipeline
from adapters.runtime.queueing import aside
from adapters.suggest import Suggestions
from service.api import large_answers
from service.api.dependencies import PROBLEMS, Ctx
from service.api.inference import shortened
from service.api.inference.schemas import SuggestResponse
from service.api.openapi import MAX_COUNT, SUGGEST_FORM
from service.api.routing import router as new_router
from service.intake import receiving, strict
from service.wire import reference

router = new_router(tags=["heads"])
FIELDS = strict.of_form(SUGGEST_FORM)


@router.post(
    "/heads/{head}/suggest", response_model=SuggestResponse, responses=PROBLEMS, openapi_extra=SUGGEST_FORM
)  # fmt: skip
async def suggest(request: Request, ctx: Ctx, head: str) -> Response:
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
    numbers = len(found.answers) * found.head.numbers + len(found.errors)
    return Response(await aside.run(partial(_written, found, cut), numbers), media_type=large_answers.JSON)


def _written(found: Suggestions, cut: dict[str, Any]) -> bytes:
    return large_answers.written(SuggestResponse.of(found, cut), exclude_unset=True)
