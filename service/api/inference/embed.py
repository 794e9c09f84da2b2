"""POST /embed."""

from dataclasses import asdict

import numpy as np
from fastapi import Request
from fastapi.responses import Response

from adapters import modalities, tenancy
from adapters import predict as pipeline
from adapters.store import backbones
from adapters.types import ORIGINAL, Backbone
from service.access.principal import current
from service.api import large_answers
from service.api.dependencies import PROBLEMS, Ctx
from service.api.inference import shortened
from service.api.inference.schemas import EmbedResponse, Tap
from service.api.openapi import EMBED_FORM
from service.api.routing import router as new_router
from service.context import Context
from service.database_threads import READING
from service.intake import fields, receiving, strict
from service.processes import default_backbone

router = new_router(tags=["predict"])
FIELDS = strict.of_form(EMBED_FORM)


@router.post("/embed", response_model=EmbedResponse, responses=PROBLEMS, openapi_extra=EMBED_FORM)
async def embed(request: Request, ctx: Ctx) -> Response:
    """The backbone's pooled output for each input: the same numbers that heads are trained on.

    With `taps=true` those of earlier blocks follow it, which `taps` of the answer names; heads may read them, too.
    """
    async with receiving.inputs(request, ctx, FIELDS) as form:
        name, seconds = form.one("backbone", ""), ctx.settings.predict_seconds
        taps = form.flag("taps")
        backbone = await READING.run(_backbone, ctx, name, form.modality)
        flow = tenancy.qualified(current().tenant, "")  # a turn of its own for each tenant
        load = sum(map(modalities.of(backbone).load, map(len, form.inputs)))
        async with ctx.predictor.traffic.admitted(load, flow, form.seconds("timeout", seconds)):
            result = await pipeline.embed(ctx.predictor, form.inputs, backbone.digest, form.on_error(), flow)
        cut = await shortened.told(ctx.predictor, form.inputs, result.indices, backbone.modality)
    rows = result.embeddings if taps else result.pooled
    before = {
        "backbone": backbone.name, "digest": backbone.digest, "dimension": backbone.dimension,
        "taps": [Tap(**tap).model_dump() for tap in backbone.taps] if taps else [],
    }  # fmt: skip
    after = {"indices": result.indices, "errors": [asdict(error) for error in result.errors]} | cut
    return await large_answers.listing(
        "embeddings", rows, np.ndarray.tolist, rows.shape[1], before, after, large_answers.as_python_does
    )


def _backbone(ctx: Context, name: str, modality: str | None) -> Backbone:
    """The one that was named, else the default for what came. Raises BackboneNotFound, WrongModality."""
    wanted = name or default_backbone.of(ctx.settings, ctx.engine, modality or ORIGINAL)
    found = backbones.find(ctx.engine, wanted)
    fields.require(modality, found.modality, "backbone", found.name)
    return found
