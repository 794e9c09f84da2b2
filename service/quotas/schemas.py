"""The wire contract of quotas."""

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints

from adapters.store.quotas.limits import SLOWEST, Book, Limits
from service.wire import NUMBER, Wire

Bound = Annotated[float, Field(ge=0, le=2**53), NUMBER] | Literal["unlimited", "default"]
NONE = Annotated[float, Field(ge=0, le=0), NUMBER]
Pace = NONE | Annotated[float, Field(ge=SLOWEST, le=2**53), NUMBER] | Literal["unlimited", "default"]
Name = Annotated[str, StringConstraints(max_length=255)]


class Wanted(Wire):
    """Limits to be set: a number, `unlimited`, or `default` for what the settings say. What is left out stays."""

    heads: Bound | None = None
    examples: Bound | None = None
    bytes: Bound | None = None
    jobs: Bound | None = None
    requests_per_second: Pace | None = None
    inputs_per_second: Pace | None = None


class QuotaRequest(Wire):
    """Whose limits, and which."""

    tenant: Annotated[str, StringConstraints(max_length=63)] | None = Field(
        None, description="By default the caller's; another's only for operators."
    )
    key: Name = Field("", description="Id of one key of it; by default all of them together.")
    limits: Wanted


class LimitsView(Wire):
    """Most of each thing; null: any number."""

    heads: float | None
    examples: float | None
    bytes: float | None
    jobs: float | None
    requests_per_second: float | None
    inputs_per_second: float | None

    @classmethod
    def of(cls, limits: Limits) -> "LimitsView":
        return cls(**asdict(limits))


class UsedView(Wire):
    """What there is now."""

    heads: int
    examples: int
    bytes: int
    jobs: int


class QuotaView(Wire):
    """What was set for a tenant or a key, and the limits in force."""

    tenant: str = Field(description="Empty: the default tenant.")
    key: str = Field(description="Empty: all keys of the tenant together.")
    set: dict[str, float | None] = Field(description="What is not as the settings say; null: unlimited.")
    limits: LimitsView

    @classmethod
    def of(cls, book: Book, tenant: str, key: str) -> "QuotaView":
        limits = book.of_key(tenant, key) if key else book.of_tenant(tenant)
        found: dict[str, Any] = book.overrides.get((tenant, key), {})
        return cls(tenant=tenant, key=key, set=found, limits=LimitsView.of(limits))


class QuotaList(Wire):
    """The defaults of each tenant, and all that differs."""

    default: LimitsView
    quotas: list[QuotaView]


class BoundView(Wire):
    """Limits, and how much of them is used."""

    limits: LimitsView
    used: UsedView


class OwnLimits(Wire):
    """What the caller may have and ask: within its tenant's limits its key's."""

    tenant: BoundView
    key: BoundView
