"""What a head is asked against what it was taught."""

from typing import Annotated

from fastapi import Query

from adapters.monitoring import drift
from adapters.store import heads
from adapters.tenancy import shown
from adapters.types import HeadRef
from service.api.dependencies import PROBLEMS, Ctx
from service.api.routing import router as new_router
from service.drift.schemas import DriftView

router = new_router(prefix="/heads/{head}/drift", tags=["heads"])
Version = Annotated[int | None, Query(ge=1, le=2**31 - 1, description="Default: the live one.")]
Hours = Annotated[int, Query(ge=1, le=24 * 366, description="To look at, the present one included.")]


@router.get("", responses=PROBLEMS)
def get_drift(ctx: Ctx, head: str, version: Version = None, hours: Hours = 24) -> DriftView:
    """What a version answered lately against what it answered of held-out examples: labels and novelty, by PSI."""
    found = heads.resolve(ctx.engine, HeadRef(head, version=version))
    figures = drift.look(ctx.engine, found, hours)
    return DriftView.model_validate({"head": shown(head), "version": found.number, "hours": hours} | figures)
