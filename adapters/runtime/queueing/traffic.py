"""Images from requests to lanes: admitted or refused, in turn between heads, each once, and only while wanted."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from adapters.errors import DeadlineExceeded, InvalidInput
from adapters.runtime.meters import UNSEEN, Meters
from adapters.runtime.queueing.admission import Admission
from adapters.runtime.queueing.inflight import Bytes, InFlight, Item
from adapters.runtime.queueing.lanes import Lanes
from adapters.types import Floats


class Traffic:
    """The lanes of a process with their door, and what is on its way through them."""

    def __init__(
        self, threads: int, max_images: int, max_bytes: int, max_seconds: float, meters: Meters = UNSEEN
    ) -> None:
        self.meters = meters
        self.lanes = Lanes(threads)
        self.admission = Admission(max_images, max_bytes, max_seconds, self.lanes, meters)
        self.in_flight = InFlight(self.lanes, meters)

    @asynccontextmanager
    async def admitted(self, images: int, flow: str, seconds: float | None) -> AsyncIterator[None]:
        """Work on so many images of a flow, for so long at most.

        Raises Overloaded at once where they cannot be done in time, DeadlineExceeded when the time is up.
        """
        self._check_time(images, flow, seconds)
        with self.admission.holding_images(images, flow):
            try:
                async with asyncio.timeout(seconds) as limit:
                    yield
            except TimeoutError:
                if not limit.expired():
                    raise
                self.meters.expired()
                raise DeadlineExceeded(f"no answer within {seconds:g} seconds, so the work was dropped") from None

    async def embed(
        self, images: Sequence[Bytes], backbone: str, flow: str, work: Callable[[Item], None]
    ) -> list[Floats | InvalidInput]:
        """The embedding f32 [D] of each image, or what is wrong with it; `work` settles an item, in a lane or later.

        Who stops waiting, for whatever reason, takes what is not done yet along.
        """
        joined = [self.in_flight.join_or_start(flow, backbone, data, work) for data in images]
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

    def _check_time(self, images: int, flow: str, seconds: float | None) -> None:
        expected = self.lanes.expected(flow, images)
        if seconds is not None and self.admission.images and expected > seconds:
            why = f"an answer would take {expected:.1f} seconds, more than the {seconds:g} allowed"
            raise self.admission.refusal(why, expected - seconds)
