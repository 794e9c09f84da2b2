"""The roll-out of a head: a version that is tried on live requests before it is live."""

from adapters.errors import RolloutNotFound
from adapters.store import heads
from adapters.store.rollouts import control, rows
from adapters.tenancy import shown
from service.api.dependencies import PROBLEMS, Ctx
from service.api.routing import router as new_router
from service.rollout.schemas import RolloutRequest, RolloutView

router = new_router(prefix="/heads/{head}/rollout", tags=["heads"])


@router.put("", responses=PROBLEMS)
def put_rollout(ctx: Ctx, head: str, body: RolloutRequest) -> RolloutView:
    """Try a version on a share of what asks for `live`, or beside it in the shadow; rules may end it by themselves."""
    started, generation = control.begin(ctx.engine, body.rollout(head))
    return RolloutView.of(started, rows.events(ctx.engine, head), generation)


@router.get("", responses=PROBLEMS)
def get_rollout(ctx: Ctx, head: str) -> RolloutView:
    """The last roll-out of a head: what was counted, how sure that is, and what was decided."""
    found = rows.last(ctx.engine, head)
    if found is None:
        heads.summary(ctx.engine, head)  # raises HeadNotFound
        raise RolloutNotFound(
            f"{shown(head)!r} was never rolled out; PUT /heads/{shown(head)}/rollout begins", item=shown(head)
        )
    return RolloutView.of(found, rows.events(ctx.engine, head))


@router.delete("", status_code=204, responses=PROBLEMS)
def delete_rollout(ctx: Ctx, head: str) -> None:
    """End a roll-out: live answers everything again. What was counted stays to be looked at."""
    control.stop(ctx.engine, head)
