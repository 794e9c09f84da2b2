"""Which option of the deep fits is taken, and whether it beats the shallow winner: by answers to unseen examples.

An option is a cut with a number of epochs and a mix, and a choice that with a weight of the shallow head beside it. The
one that is taken has the least calibrated loss on all answers of the fits to folds, none of which saw the examples that
it answers. What is compared with the shallow winner is more careful: each tenth of the examples (a half of many) is
answered by the choice, at the temperature, that is best on the others, so that no example had a say in who answers it.
What optimism is left is that of the shallow winner's own choice, which was made on the very same answers and makes it
harder to beat.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from adapters.comparison import paired
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.deep.pool import Choice, Pool
from adapters.training.race.cross_validation import Data
from adapters.training.race.objectives import Calibration
from adapters.types import Arrays, Fitted, Floats, HeadProgram, Schema, Targets

# Standard errors that the loss has to fall by: one chance in twenty that a version no better passes. Where one that
# does not pass may be looked at again, on more folds, every look asks for more (Pocock, Biometrika 1977).
BEYOND = {1: 1.645, 2: 1.875, 3: 1.992, 4: 2.067, 5: 2.122}  # by the number of looks
BEYOND_ANY = 2.27  # of up to ten
HOPELESS = 0.05  # chance of passing in the end, below which no more folds are asked


@dataclass(frozen=True, slots=True)
class Chosen:
    """The option that is taken, and what was said without knowing."""

    choice: Choice
    raw: Floats  # f32 [M, K], each row by the choice that is best on the other blocks
    calibrated: Floats  # the same, calibrated on the other blocks
    calibration: Calibration  # of all of `raw`
    losses: list[float]  # of each choice, on all


def chosen(pool: Pool, data: Data) -> Chosen:
    """See above."""
    truth = data.truth[pool.index]
    each_loss = [one for _, one in losses(pool, data)]
    raw, calibrated = np.empty_like(pool.said[0]), np.empty_like(pool.said[0])
    for block in pool.blocks:
        others = np.setdiff1d(np.arange(len(pool.index)), block)
        best = int(np.argmin([loss(pool.raw(each)[others], truth[others], data) for each in pool.choices]))
        said = pool.raw(pool.choices[best])
        steps = data.goal.calibrate(said[others], truth[others]).steps
        raw[block] = said[block]
        calibrated[block] = programs.run(HeadProgram(steps), said[block])
    return Chosen(pool.choices[int(np.argmin(each_loss))], raw, calibrated, data.goal.calibrate(raw, truth), each_loss)


def losses(pool: Pool, data: Data) -> list[tuple[Choice, float]]:
    """The loss of each choice on all answers."""
    truth = data.truth[pool.index]
    return [(choice, loss(pool.raw(choice), truth, data)) for choice in pool.choices]


def loss(said: Floats, truth: Fitted, data: Data) -> float:
    """Of raw outputs, calibrated on themselves."""
    calibrated = programs.run(HeadProgram(data.goal.calibrate(said, truth).steps), said)
    return float(data.goal.losses(calibrated, truth).mean())


def compared(
    shallow: Arrays,
    shallow_losses: Floats,
    deep: Arrays,
    deep_losses: Floats,
    task: Task,
    targets: Targets,
    classes: Sequence[str],
    looks: int = 1,
) -> dict[str, Any]:
    """Both answers to the same M unseen examples → whether the deep ones are better, ready for JSON.

    `looks`: how often this may be asked, each time with as many more examples.
    """
    before, after = (
        task.merits(answers, targets, Schema(tuple(classes), task.decide(answers, targets, classes)))
        for answers in (shallow, deep)
    )
    figures = paired.figures(before, after, task.MERIT)
    gain = (shallow_losses - deep_losses).astype(np.float64)
    error = float(gain.std(ddof=1)) / math.sqrt(len(gain)) if len(gain) > 1 else math.inf
    passed = bool(gain.mean() > beyond(looks) * error and figures["difference"] >= 0)
    return {
        "passed": passed,
        "reason": _reason(passed, figures, float(gain.mean()), error, looks),
        "examples": len(gain),
        "merit": task.MERIT,
        "merit_shallow": figures["merit_a"],
        "merit_deep": figures["merit_b"],
        "gain": figures["difference"],
        "interval": list(figures["difference_interval"]),
        "gain_loss": float(gain.mean()),
        "gain_loss_error": error,
    }


def beyond(looks: int) -> float:
    """Standard errors that each of so many looks asks for."""
    return BEYOND.get(looks, BEYOND_ANY)


def promising(proof: dict[str, Any], share: float, looks: int) -> bool:
    """Whether all answers, of which this share is in, may well show what these do not show yet: if the gain goes on as
    it began (stochastic curtailment; Lan, Simon & Halperin 1982). Who gives up early passes less often, never more.
    """
    if proof["passed"] or share >= 1:
        return False
    seen = proof["gain_loss"] / max(proof["gain_loss_error"], 1e-12)
    ahead = (seen / math.sqrt(share) - beyond(looks)) / math.sqrt(1 - share)
    return NormalDist().cdf(ahead) >= HOPELESS


def _reason(passed: bool, figures: dict[str, Any], gain: float, error: float, looks: int) -> str:
    way = "fell" if gain >= 0 else "rose"
    seen = f"on {figures['examples']} examples that neither had seen the loss {way} by {abs(gain):.4f} ± {error:.4f}"
    merit = f"{figures['merit']} moved by {figures['difference']:+.4f}"
    if passed:
        return f"{seen}, and {merit}"
    few = f"less than {beyond(looks)} standard errors is chance"
    why = f"{figures['merit']} is lower" if gain > beyond(looks) * error else few
    return f"{seen}, and {merit}: {why}"
