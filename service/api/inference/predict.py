"""POST /predict."""

import time
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from pydantic_core import to_json

from adapters import predict as pipeline
from adapters.predict import Predictions
from adapters.runtime.queueing import aside
from service import telemetry
from service.api import large_answers
from service.api.dependencies import PROBLEMS, Ctx
from service.api.inference import shortened
from service.api.inference.schemas import PredictResponse
from service.api.openapi import MAX_GENERATION, MAX_TOP_K, PREDICT_FORM
from service.api.routing import router as new_router
from service.intake import forms, receiving, strict

router = new_router(tags=["predict"])
FIELDS = strict.of_form(PREDICT_FORM)


@router.post("/predict", response_model=PredictResponse, responses=PROBLEMS, openapi_extra=PREDICT_FORM)
async def predict(request: Request, ctx: Ctx) -> Response:
    """Ask one or more heads about one or more inputs; all heads share one pass through the backbone.

    Send multipart `inputs` (repeated), or `images` or `texts`, which say what they are, with `head` (repeated: `name`,
    `name@3`, `name@canary`); or one raw input as the body with `?head=` (`image/*`, `text/plain`); or texts as JSON:
    `{"head": "intents", "texts": ["…"]}`.

    Options: `top_k` (5), `on_error` (`fail` or `skip`), `min_generation`; `timeout` (seconds for the answer once the
    request is complete, then 504); `coverage` (0.9: a set of labels that holds the truth nine times in ten) and
    `abstain` (0.95: whether to leave the answer be, so that 95 % of the others are right); `sticky`, or the header
    `X-Request-Key`: of a head that is rolled out, the same version answers requests with the same key.
    """
    began = time.perf_counter()
    async with receiving.inputs(request, ctx, FIELDS) as form:
        refs = forms.head_refs(form.many("head"), ctx.settings.max_predict_heads)
        result = await pipeline.predict(
            ctx.predictor, form.inputs, refs, top_k=form.integer("top_k", 5, 1, MAX_TOP_K), on_error=form.on_error(),
            min_generation=form.integer("min_generation", 0, 0, MAX_GENERATION), coverage=form.share("coverage"),
            abstain=form.share("abstain"), timeout=form.seconds("timeout", ctx.settings.predict_seconds),
            sticky=form.key("sticky", request.headers.get("x-request-key")), modality=form.modality,
        )  # fmt: skip
        cut: dict[str, Any] = {}
        if (first := next(iter(result.predictions), None)) is not None:
            cut = await shortened.told(ctx.predictor, form.inputs, result.indices, first.head.modality)
        telemetry.predicted(len(form.inputs), len(refs), time.perf_counter() - began)
        if len(result.indices) * result.numbers > aside.INLINE:
            return await _in_parts(result, cut)
        # A fifth of the time of json.dumps, which is on every prediction's way.
        return Response(to_json(PredictResponse.plain(result) | cut), media_type=large_answers.JSON)


async def _in_parts(result: Predictions, cut: dict[str, Any]) -> Response:
    """The same of many predictions, which are gone afterwards."""
    numbers = max(1, result.numbers * len(result.indices) // len(result.predictions))
    after = PredictResponse.rest(result) | cut
    answer = await large_answers.listing("predictions", result.predictions, PredictResponse.listed, numbers, {}, after)
    await aside.drop(result.predictions, numbers)
    return answer
