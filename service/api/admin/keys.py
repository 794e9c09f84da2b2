"""API keys, for administrators: those of their tenant; operators (the default tenant's) look after everybody's."""

from typing import Annotated

from fastapi import Query, Response

from adapters.store.access import keys as store
from service.access.keys import administration
from service.access.keys.schemas import KeyPage, KeyRequest, KeyView, NewKey, RotateRequest
from service.access.principal import current
from service.access.refusals import Forbidden
from service.api.dependencies import PROBLEMS, Ctx
from service.api.routing import router as new_router
from service.context import Context

router = new_router(prefix="/keys", tags=["keys"])
UNKEPT = {"Cache-Control": "no-store"}  # secrets lie in no cache


@router.get("", responses=PROBLEMS)
def list_keys(
    ctx: Ctx,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[str, Query(pattern=r"^[a-z0-9]{0,16}$", description="`next` of the page before.")] = "",
) -> KeyPage:
    """Keys, the oldest first, ended ones too; without secrets."""
    found = store.page(ctx.engine, _whose(), limit=limit, after=after)
    last = found[-1].id if len(found) == limit else None
    return KeyPage(keys=[KeyView.of(key) for key in found], next=last)


@router.post("", status_code=201, responses=PROBLEMS, response_model=NewKey)
def create_key(ctx: Ctx, body: KeyRequest) -> Response:
    """Make a key. Its text is in this answer and never again."""
    who = current()
    tenant = who.tenant if body.tenant is None else body.tenant
    if tenant != who.tenant and not who.is_operator:
        raise Forbidden("keys of another tenant are made by administrators of the default one", item="tenant")
    made = administration.create(
        ctx.engine, ctx.settings.pepper(), tenant=tenant, name=body.name, scopes=body.scopes,
        days=body.expires_in_days,
    )  # fmt: skip
    return _shown(ctx, *made)


@router.get("/{key_id}", responses=PROBLEMS)
def get_key(ctx: Ctx, key_id: str) -> KeyView:
    """One key."""
    return KeyView.of(store.find(ctx.engine, key_id, _whose()))


@router.post("/{key_id}/rotate", status_code=201, responses=PROBLEMS, response_model=NewKey)
def rotate_key(ctx: Ctx, key_id: str, body: RotateRequest) -> Response:
    """Make another key in the place of this one, which is good for `overlap_seconds` more."""
    old = store.find(ctx.engine, key_id, _whose())
    return _shown(ctx, *administration.rotate(ctx.engine, ctx.settings.pepper(), old, body.overlap_seconds))


@router.delete("/{key_id}", responses=PROBLEMS)
def revoke_key(ctx: Ctx, key_id: str) -> KeyView:
    """End a key, here at once and on other replicas within ESPALIER_POLL_SECONDS."""
    found = store.revoke(ctx.engine, key_id, _whose())
    ctx.access.follow()
    return KeyView.of(found)


def _whose() -> str | None:
    """The tenant whose keys the caller may see; None: all tenants'."""
    who = current()
    return None if who.is_operator else who.tenant


def _shown(ctx: Context, key: store.Key, text: str) -> Response:
    ctx.access.follow()
    body = NewKey.made(key, text).model_dump_json()
    return Response(body, 201, UNKEPT, media_type="application/json")
