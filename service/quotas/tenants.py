"""What each tenant asks for, as metrics: by these is seen who takes a shared service's time, and bills are made."""

from prometheus_client import Counter

from service import telemetry

MOST = 200  # tenants with series of their own in a process; each has two
OTHERS = "(others)"  # those who came after them, together: no tenant can be called so


class Tenants:
    """The tenants that were met here, the first ones by their names."""

    def __init__(self) -> None:
        self._met: dict[str, tuple[Counter, Counter]] = {}

    def asked(self, tenant: str, inputs: int | None) -> None:
        """A request of a tenant, or so many inputs of one."""
        requests, counted = self._met.get(tenant) or self._meet(tenant)
        if inputs is None:
            requests.inc()
        else:
            counted.inc(inputs)

    def _meet(self, tenant: str) -> tuple[Counter, Counter]:
        label = (tenant or telemetry.DEFAULT_TENANT) if len(self._met) < MOST else OTHERS
        made = telemetry.TENANT_REQUESTS.labels(label), telemetry.TENANT_INPUTS.labels(label)
        if label != OTHERS:
            self._met[tenant] = made
        return made
