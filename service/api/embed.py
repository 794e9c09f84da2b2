"""POST /embed."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse

from adapters import predict as pipeline
from adapters.store import backbones
from service import forms
from service.api import PROBLEMS, Ctx
from service.openapi import EMBED_FORM
from service.schemas import EmbedResponse, ItemError

router = APIRouter(tags=["predict"])


@router.post("/embed", response_model=EmbedResponse, responses=PROBLEMS, openapi_extra=EMBED_FORM)
async def embed(request: Request, ctx: Ctx) -> JSONResponse:
    """The backbone's pooled output for each image: the same numbers that heads are trained on."""
    form = await forms.receive(request, ctx.settings)
    try:
        name = form.one("backbone", ctx.default_backbone)
        backbone = await run_in_threadpool(backbones.find, ctx.engine, name)
        ctx.predictor.lanes.admit(len(form.images))
        result = await pipeline.embed(ctx.predictor, form.images, backbone.digest, form.on_error())
    finally:
        form.close()
    errors = [ItemError(index=e.index, code=e.code, detail=e.detail) for e in result.errors]
    answer = EmbedResponse(
        backbone=backbone.name, digest=backbone.digest, dimension=backbone.dimension,
        embeddings=result.embeddings.tolist(), indices=result.indices, errors=errors,
    )  # fmt: skip
    return JSONResponse(answer.model_dump())
