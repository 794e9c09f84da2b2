"""A token bucket: so much a second on average, and what a second gives at once (Turner 1986: the leaky bucket).

What costs more than the bucket holds passes once there is a token, and is owed: 64 inputs at 10 a second pass, and the
next wait for 6 seconds. So large requests are not starved by small ones, and the average holds.
"""

from dataclasses import dataclass, field

WINDOW = 1.0  # seconds of the rate that may come at once
IDLE = 30.0  # seconds
NEVER = 3600.0  # seconds until it is worth to ask again where nothing is allowed


@dataclass(slots=True)
class Bucket:
    """One rate of one caller in this process. Times are seconds of any clock that does not jump."""

    whole: float  # tokens a second over all processes
    share: float = field(init=False)  # of them, this process's
    tokens: float = field(init=False)
    at: float = 0.0  # when `tokens` was right
    asked: float = 0.0  # tokens that were asked for since somebody last looked
    last: float = 0.0  # when any were asked for

    def __post_init__(self) -> None:
        self.share = self.whole
        self.tokens = self.capacity

    @property
    def capacity(self) -> float:
        """Most that may come at once; one at least, or slow rates would never let anything in."""
        return max(self.share * WINDOW, 1.0) if self.whole else 0.0

    def look(self, now: float) -> float:
        """Seconds until something may pass; 0: now."""
        self._fill(now)
        if self.tokens >= 1:
            return 0.0
        if not self.whole:
            return NEVER
        return (1 - self.tokens) / self.share if self.share else WINDOW  # else others have all of it, for a moment

    def ask(self, now: float, amount: float, taken: bool) -> None:
        """Note that so much was asked for, and take it where `look` has said 0 of all that bound it."""
        self.asked, self.last = self.asked + amount, now
        if taken:
            self.tokens -= amount

    def divide(self, whole: float, share: float, now: float) -> None:
        """From now on the rate is this, and so much of it this process's. What is owed stays owed."""
        self._fill(now)
        self.whole, self.share = whole, share
        self.tokens = min(self.tokens, self.capacity)

    def is_idle(self, now: float) -> bool:
        """Whether nothing is lost if it is forgotten: it is full, and nobody has asked lately."""
        self._fill(now)
        return self.tokens >= self.capacity and now - self.last > IDLE

    def _fill(self, now: float) -> None:
        self.tokens = min(self.capacity, self.tokens + (now - self.at) * self.share)
        self.at = now
