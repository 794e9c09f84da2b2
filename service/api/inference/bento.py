"""What BentoML's clients ask for, answered here like everything else: within the same limits, with the same errors.

BentoML's own way in knows no limits, answers a caller's mistake with a traceback in the log, and fetches a URL that
comes in place of a file. No request reaches it (`service.api.fast_path`).
"""

import functools
import json
import time
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from adapters import predict as pipeline
from adapters.errors import InvalidInput, NotReady
from adapters.types import ORIGINAL
from service import telemetry
from service.api.dependencies import PROBLEMS, Ctx
from service.api.inference.schemas import PredictResponse
from service.api.openapi import BENTO_FORM, MAX_TOP_K
from service.api.routing import router as new_router
from service.intake import forms, receiving, strict

router = new_router(tags=["BentoML"])
FIELDS = strict.of_form(BENTO_FORM)
NAMES = {"image": ORIGINAL}  # the field, and what it brings
MOST = 10_000  # characters of an option that are looked at as JSON


@router.post("/bento/predict", response_model=PredictResponse, responses=PROBLEMS, openapi_extra=BENTO_FORM)
async def bento_predict(request: Request, ctx: Ctx) -> JSONResponse:
    """One image, one head, for `bentoml.SyncHTTPClient` and other Bento services."""
    began = time.perf_counter()
    async with receiving.inputs(request, ctx, FIELDS, NAMES) as form:
        form.options = {name: [_plain(value) for value in values] for name, values in form.options.items()}
        refs = forms.head_refs(form.many("head"), 1)
        if len(form.inputs) > 1:
            raise InvalidInput(
                f"{len(form.inputs)} images; this route answers for one, /predict for many", item="image"
            )
        result = await pipeline.predict(
            ctx.predictor, form.inputs, refs, top_k=form.integer("top_k", 5, 1, MAX_TOP_K),
            timeout=ctx.settings.predict_seconds, modality=form.modality,
        )  # fmt: skip
        telemetry.predicted(1, 1, time.perf_counter() - began)
        return JSONResponse(PredictResponse.plain(result))


def _plain(text: str) -> str:
    """BentoML's clients send options as JSON: `"pets"` in quotes."""
    if not text.startswith('"') or len(text) > MOST:
        return text
    try:
        return str(json.loads(text))
    except ValueError:
        return text


@router.get("/schema.json", include_in_schema=False)
def schema(request: Request) -> Response:
    """What BentoML's clients look for first."""
    return _described(request, "schema")


@router.get("/docs.json", include_in_schema=False)
def docs(request: Request) -> Response:
    """BentoML's OpenAPI document of its part; ours is /openapi.json."""
    return _described(request, "openapi")


def _described(request: Request, what: str) -> Response:
    describe = getattr(request.app.state, "bento", None)
    if describe is None:
        raise NotReady("the service is starting")
    return Response(_rendered(describe, what), media_type="application/json")


@functools.cache
def _rendered(describe: Any, what: str) -> bytes:
    return json.dumps(describe(what)).encode()
