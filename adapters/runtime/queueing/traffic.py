"""Inputs from requests to lanes: admitted or refused, in turn between heads, each once, and only while wanted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from adapters.errors import DeadlineExceeded, InvalidInput
from adapters.runtime.meters import UNSEEN, Meters
from adapters.runtime.queueing.admission import Admission
from adapters.runtime.queueing.fair import stepped
from adapters.runtime.queueing.inflight import Bytes, InFlight, Item
from adapters.runtime.queueing.lanes import Lanes
from adapters.types import Told


class Traffic:
    """The lanes of a process with their admission, and what is on its way through them."""

    def __init__(
        self,
        threads: int,
        max_load: float,
        max_bytes: int,
        max_seconds: float,
        meters: Meters = UNSEEN,
        cores: Sequence[int] = (),
    ) -> None:
        self.meters = meters
        self.lanes = Lanes(threads, cores)
        self.admission = Admission(max_load, max_bytes, max_seconds, self.lanes, meters)
        self.in_flight = InFlight(self.lanes, meters)

    @asynccontextmanager
    async def admitted(self, load: float, flow: str, seconds: float | None) -> AsyncIterator[None]:
        """Work on inputs of a flow, for so long at most. `load`: how many ordinary ones they are worth.

        Raises Overloaded at once where they cannot be done in time, DeadlineExceeded when the time is up.
        """
        self._check_time(load, flow, seconds)
        with self.admission.holding(load, flow):
            try:
                async with asyncio.timeout(seconds) as limit:
                    yield
            except TimeoutError:
                if not limit.expired():
                    raise
                self.meters.expired()
                raise DeadlineExceeded(f"no answer within {seconds:g} seconds, so the work was dropped") from None

    async def embed(
        self,
        inputs: Sequence[Bytes],
        backbone: str,
        flow: str,
        work: Callable[[Item], None],
        load: Callable[[int], float] = lambda size: 1.0,
    ) -> list[Told | InvalidInput]:
        """What a backbone tells of each input, or what is wrong with it; `work` settles an item, in a lane or later.

        `load`: how many ordinary inputs one of so many bytes is worth.

        Who stops waiting, for whatever reason, takes what is not done yet along.
        """
        joined = [self.in_flight.join_or_start(flow, backbone, data, work, stepped(load(len(data)))) for data in inputs]
        try:
            if len(joined) == 1:
                return [await joined[0][1]]
            return await asyncio.gather(*(future for _, future in joined))
        finally:
            for item, future in joined:
                item.leave(future)

    def close(self) -> None:
        """Let running work end and drop what waits."""
        self.lanes.close()

    def _check_time(self, load: float, flow: str, seconds: float | None) -> None:
        expected = self.lanes.expected(flow, load)
        if seconds is not None and self.admission.load and expected > seconds:
            why = f"an answer would take {expected:.1f} seconds, more than the {seconds:g} allowed"
            raise self.admission.refusal(why, expected - seconds)
