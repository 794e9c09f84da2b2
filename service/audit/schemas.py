"""The wire contract of the audit log."""

from typing import Any, Literal

from pydantic import Field

from service.wire import Wire


class AuditRow(Wire):
    """One change, or a try at one."""

    sequence: int
    at: int = Field(description="Milliseconds since 1970 by the database's clock.")
    tenant: str
    principal: str
    address: str
    request_id: str
    action: str
    what: dict[str, Any]
    outcome: Literal["done", "refused", "failed"]
    status: int | None
    previous: str
    hash: str


class AuditPage(Wire):
    """Rows by number."""

    rows: list[AuditRow]
    next: str | None
