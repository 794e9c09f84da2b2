"""GET /replicas: the serving processes that live."""

from adapters.store import heads
from adapters.store.replicas import registry
from service.api.dependencies import PROBLEMS, Ctx
from service.api.routing import router as new_router
from service.replicas.views import ReplicaList, ReplicaView

router = new_router(tags=["operations"])


@router.get("/replicas", responses=PROBLEMS)
def list_replicas(ctx: Ctx) -> ReplicaList:
    """The serving processes that live, on all machines, with the state of the heads that each of them serves."""
    newest = heads.current_generation(ctx.engine)
    found = registry.living(ctx.engine)
    return ReplicaList(generation=newest, replicas=[ReplicaView.of(one, ctx.heartbeat.id) for one in found])
