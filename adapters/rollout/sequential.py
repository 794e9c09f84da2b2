"""How sure a share is while it is still being counted, however often somebody looks.

A fixed-sample interval that is looked at every second excludes the truth sooner or later: with enough looks a level of
5 % becomes one of 100 % (Armitage, McPherson & Rowe 1969). A confidence sequence holds the truth at all times at once
with the stated probability, so a rule may look whenever it likes and stop when it likes.

This one is of a Bernoulli share p. Were p the truth, the ratio of a Beta mixture of likelihoods to the likelihood of p
would be a martingale with mean 1, so that it ever reaches 1/α with probability α at most (Ville 1939; Robbins 1970).
The p for which it has not are the sequence. It is what a mixture sequential probability ratio test inverts to (Johari,
Koomen, Pekelis & Walsh 2022, "Always valid inference"; Howard, Ramdas, McAuliffe & Sekhon 2021), exact for shares, and
needs no plan of how many looks there will be, which alpha-spending asks for.
"""

import math
from dataclasses import dataclass

PRIOR = 0.5  # Jeffreys' Beta(½, ½): mass near 0 and 1, where shares of errors and of disagreement lie
STEPS = 40  # of a bisection: to 1e-12


@dataclass(frozen=True, slots=True)
class Interval:
    """A share, or a difference of two, with what it surely lies between."""

    estimate: float | None  # None: nothing was counted
    low: float
    high: float


def share(hits: int, count: int, alpha: float) -> Interval:
    """The share that `hits` of `count` speak for; at all times at once it is in there with probability 1 − alpha."""
    if count == 0:
        return Interval(None, 0.0, 1.0)
    estimate, limit = hits / count, math.log(1 / alpha)
    low = 0.0 if hits == 0 else _edge(hits, count, estimate, 0.0, limit)
    high = 1.0 if hits == count else _edge(hits, count, estimate, 1.0, limit)
    return Interval(estimate, low, high)


def difference(one: Interval, other: Interval) -> Interval:
    """One share less the other: each may be anywhere in its interval, so their levels add up."""
    known = one.estimate is not None and other.estimate is not None
    estimate = one.estimate - other.estimate if known else None  # type: ignore[operator]
    return Interval(estimate, one.low - other.high, one.high - other.low)


def _edge(hits: int, count: int, inside: float, outside: float, limit: float) -> float:
    """Where the evidence against a share reaches the limit, between one that it does not speak against and one that it
    does; it grows steadily on the way."""
    for _ in range(STEPS):
        middle = (inside + outside) / 2
        if evidence(hits, count, middle) < limit:
            inside = middle
        else:
            outside = middle
    return outside


def evidence(hits: int, count: int, p: float) -> float:
    """The logarithm of the martingale: how much better the mixture explains the counts than the share p does."""
    misses = count - hits
    mixture = _log_beta(PRIOR + hits, PRIOR + misses) - _log_beta(PRIOR, PRIOR)
    return mixture - (hits * math.log(p) if hits else 0.0) - (misses * math.log1p(-p) if misses else 0.0)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
