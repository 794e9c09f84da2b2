"""GET /audit: who has changed what."""

from typing import Annotated

from fastapi import Query

from adapters.store.audit import log
from adapters.store.database import aware
from service.access.principal import current
from service.api.dependencies import PROBLEMS, Ctx
from service.api.routing import router as new_router
from service.audit.schemas import AuditPage, AuditRow
from service.wire import Moment, Text

router = new_router(tags=["audit"])
MOST = 2**53


@router.get("/audit", responses=PROBLEMS)
def list_audit(
    ctx: Ctx,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    after: Annotated[int, Query(ge=0, le=MOST, description="`next` of the page before.")] = 0,
    since: Annotated[Moment | None, Query(description="Only rows from then on, in UTC or as it says.")] = None,
    tenant: Annotated[Text | None, Query(description="Only this tenant's; for operators.")] = None,
) -> AuditPage:
    """The audit log by number: of the caller's tenant, and for operators of all."""
    who = current()
    whose = tenant if who.is_operator else who.tenant
    moment = None if since is None else int(aware(since).timestamp() * 1000)
    rows = log.page(ctx.engine, limit=limit, after=after, since=moment, tenant=whose)
    last = str(rows[-1]["sequence"]) if len(rows) == limit else None
    return AuditPage(rows=[AuditRow(**row) for row in rows], next=last)
