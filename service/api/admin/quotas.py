"""Quotas: one's own limits, and setting those of tenants and keys."""

from adapters.store.database import reading
from adapters.store.quotas import limits, usage
from adapters.store.quotas.limits import Book, Limits
from adapters.store.quotas.usage import Owner
from service.access.principal import current
from service.access.refusals import Forbidden
from service.api.dependencies import PROBLEMS, Ctx
from service.api.routing import router as new_router
from service.context import Context
from service.quotas import accepting
from service.quotas.schemas import (
    BoundView,
    LimitsView,
    OwnLimits,
    QuotaList,
    QuotaRequest,
    QuotaView,
    UsedView,
)

router = new_router(tags=["quotas"])


@router.get("/limits", responses=PROBLEMS)
def get_limits(ctx: Ctx) -> OwnLimits:
    """What the caller may have and ask, and what it has."""
    who, book = current(), _book(ctx)
    return OwnLimits(
        tenant=_bound(ctx, Owner(who.tenant), book.of_tenant(who.tenant)),
        key=_bound(ctx, Owner(who.tenant, who.name), book.of_key(who.tenant, who.name)),
    )


@router.get("/quotas", responses=PROBLEMS)
def list_quotas(ctx: Ctx) -> QuotaList:
    """What was set for tenants and keys: the caller's tenant's, and for operators everybody's."""
    who, book = current(), _book(ctx)
    mine = [at for at in sorted(book.overrides) if who.is_operator or at[0] == who.tenant]
    return QuotaList(default=LimitsView.of(book.default), quotas=[QuotaView.of(book, *at) for at in mine])


@router.put("/quotas", responses=PROBLEMS)
def put_quotas(ctx: Ctx, body: QuotaRequest) -> QuotaView:
    """Set limits of a tenant (operators) or of one key of one's own tenant; in force within two seconds."""
    who = current()
    tenant = who.tenant if body.tenant is None else body.tenant
    if not who.is_operator and (tenant != who.tenant or not body.key):
        raise Forbidden("only operators, administrators of the default tenant, limit a tenant", item="tenant")
    if values := body.limits.model_dump(exclude_none=True):
        accepting.put(ctx.engine, tenant, body.key, values)
    return QuotaView.of(_book(ctx), tenant, body.key)


def _book(ctx: Context) -> Book:
    return limits.load(ctx.engine, accepting.default(ctx.settings))


def _bound(ctx: Context, owner: Owner, most: Limits) -> BoundView:
    with reading(ctx.engine) as connection:
        used = {name: usage.used(connection, owner, name) for name in accepting.ADDING}
    return BoundView(limits=LimitsView.of(most), used=UsedView(**used))
