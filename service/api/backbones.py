"""GET /backbones and GET /methods: what heads can be trained on, and how."""

from adapters.store import backbones, capabilities
from service.api.backbone_schemas import BackboneList, BackboneView, MethodList, MethodView
from service.api.dependencies import PROBLEMS, Ctx
from service.api.routing import router as new_router

router = new_router(tags=["backbones"])


@router.get("/backbones", responses=PROBLEMS)
def list_backbones(ctx: Ctx) -> BackboneList:
    """The frozen backbones of this installation."""
    loaded, default = ctx.predictor.backbones.loaded(), ctx.default_backbone
    found = backbones.list_all(ctx.engine)
    return BackboneList(backbones=[BackboneView.of(b, default=default, loaded=loaded) for b in found])


@router.get("/methods", responses=PROBLEMS)
def list_methods(ctx: Ctx) -> MethodList:
    """The training methods and what their hyperparameters mean, as the workers of this installation have them."""
    found = capabilities.of_kind(ctx.engine, "method")
    return MethodList(methods=[MethodView.of(name, schema) for name, schema in found.items()])
