"""How far what is answered has moved from what was taught: the population stability index, and what chance does of it.

Counts of requests are large, and requests depend on each other (a camera sends a thousand alike pictures), so a test of
"no difference at all" (chi-squared, Kolmogorov–Smirnov) finds one for sure and tells nothing of its size. PSI is a size
(the symmetric Kullback–Leibler divergence of two histograms), with limits that the field is used to: 0.1 and 0.25
(Siddiqi 2006). Unlike the Jensen–Shannon divergence, which ranks alike, its distribution by chance is known: about
(1/n + 1/m)·χ² with a degree of freedom less than there are bins (Yurdakul & Naranjo 2020). A level is said only beyond
what chance does in 95 % of cases, where n is the effective number of answers.

That number is estimated from hourly windows: how much more they differ from each other than independent answers would
is the design effect (Rao & Scott 1981), by which n is divided. A change within the time that is looked at counts as
such an excess, too, which errs to the careful side.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Level = Literal["none", "moderate", "major", "unknown"]
MODERATE, MAJOR = 0.1, 0.25
Z = 1.6449  # one-sided 95 %
RARE = 5  # held-out examples: labels with fewer are put together
NARROW = 10  # held-out examples, and a tenth of all: bins on a line with fewer join those beside them
SMOOTHING = 0.5  # added to each bin, or one that is empty on one side would make it infinite


@dataclass(frozen=True, slots=True)
class Drift:
    """How far one histogram is from its reference."""

    psi: float
    chance: float  # what it is below in 95 % of cases where nothing has moved
    level: Level  # unknown: chance alone reaches what would be major
    answers: int  # n
    effective: float  # the number of independent answers that tell as much


def drift(reference: Sequence[int], windows: Sequence[Sequence[int]], along: int = 0) -> Drift:
    """Counts of held-out answers [B] against counts of answers in windows, [B] each.

    `along`: bins are so many beside each other on a line, as of novelty or of a number; 0: they are labels.
    """
    held, asked = np.asarray(reference, float), np.asarray(windows, float).reshape(-1, len(reference))
    groups = _beside(held, along) if along else _rare(held)
    held, asked = np.add.reduceat(held[groups.order], groups.starts), _added(asked, groups)
    counts = asked.sum(axis=0)
    n, m, bins = counts.sum(), held.sum(), len(held)
    if n == 0 or m == 0 or bins < 2:
        return Drift(0.0, math.inf, "unknown", int(n), float(n))
    effective = float(n) / design_effect(asked)
    size = psi(held, counts)
    chance = (1 / effective + 1 / float(m)) * chi_squared(bins - 1)
    return Drift(size, chance, _level(size, chance), int(n), effective)


def psi(reference: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    """Σ (q − p)·ln(q / p) of two histograms [B]."""
    p, q = ((c + SMOOTHING) / (c + SMOOTHING).sum() for c in (reference, counts))
    return float(((q - p) * np.log(q / p)).sum())


def design_effect(windows: NDArray[np.float64]) -> float:
    """How many times more windows [W, B] differ than independent answers would: Pearson's χ² by its freedom, ≥ 1."""
    filled = windows[windows.sum(axis=1) > 0]
    filled = filled[:, filled.sum(axis=0) > 0]
    freedom = (filled.shape[0] - 1) * (filled.shape[1] - 1)
    if freedom < 1:
        return 1.0
    expected = filled.sum(axis=1, keepdims=True) * filled.sum(axis=0, keepdims=True) / filled.sum()
    return max(1.0, float(((filled - expected) ** 2 / expected).sum()) / freedom)


def chi_squared(freedom: int) -> float:
    """Its 95 % quantile, by Wilson & Hilferty (1931): within 2 % from one degree of freedom on."""
    spread = 2 / (9 * freedom)
    return float(freedom * (1 - spread + Z * math.sqrt(spread)) ** 3)


@dataclass(frozen=True, slots=True)
class _Groups:
    """Bins that count as one: they lie beside each other in `order`, and begin at `starts`."""

    order: NDArray[np.int64]
    starts: NDArray[np.int64]


def _added(windows: NDArray[np.float64], groups: _Groups) -> NDArray[np.float64]:
    return np.add.reduceat(windows[:, groups.order], groups.starts, axis=1)


def _rare(reference: NDArray[np.float64]) -> _Groups:
    """Labels that few examples have as one, the last."""
    rare = reference < RARE
    order = np.concatenate([np.flatnonzero(~rare), np.flatnonzero(rare)])
    return _Groups(order, np.arange(min(len(order), int((~rare).sum()) + 1)))


def _beside(reference: NDArray[np.float64], along: int) -> _Groups:
    """From the upper end of each line down, so that what is most novel has a bin of its own."""
    starts = [
        start + one for start in range(0, len(reference), along) for one in _cuts(reference[start : start + along])
    ]
    return _Groups(np.arange(len(reference)), np.array(starts))


def _cuts(line: NDArray[np.float64]) -> list[int]:
    least, found, held = max(NARROW, line.sum() / 10), [], 0.0
    for at in range(len(line) - 1, -1, -1):
        held += line[at]
        if held >= least:
            found.append(at)
            held = 0.0
    return [0, *sorted(found)[1:]] if found else [0]


def _level(size: float, chance: float) -> Level:
    if chance >= MAJOR:
        return "unknown" if size <= chance else "major"
    if size <= chance or size < MODERATE:
        return "none"
    return "major" if size >= MAJOR else "moderate"
