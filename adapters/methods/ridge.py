"""Ridge: least squares to one-hot labels, to several labels' yes and no, or to numbers, all penalties in closed form.

With few examples it is hard to beat and cannot fail to converge; Rifkin & Klautau (JMLR 2004) found one-vs-all least
squares as accurate as any other. One decomposition serves every penalty and every fold (adapters/fitting/shrinkage.py).
"""

from collections.abc import Callable, Iterator
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from adapters.fitting import shrinkage
from adapters.fitting.inputs import Inputs, Kind, numpy
from adapters.methods import Regime, Setting
from adapters.types import HeadProgram, Linear, Objective

GRID = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)  # λ on inputs of unit variance
NUMBERS = (30000.0, 3000.0, 1000.0, *GRID[:5])  # of targets that the inputs may say little of
ROUNDS = 30  # of Huber's loss, at most
MOST_TOGETHER = 256  # rows of a group that is left out at a time: its equations take the cube of that
NEAR = 1e-4  # of a target's spread: answers that move less between two rounds are as good as found
FORMS: dict[str, Kind] = {"power": "power", "standardized": "plain", "normalized": "normalized"}
OBJECTIVES: tuple[Objective, ...] = ("softmax", "sigmoid", "squared")
CLOSED_FORM = True


class Hyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    regularization: Literal["auto"] | Annotated[float, Field(gt=0, le=1e9)] = Field(
        "auto",
        description="λ in mean squared error + λ ‖W‖²; `auto` tries 8 from 300 to 0.1, of numbers from 30,000 to 3: "
        "in the race, and then for the head itself by leaving out each of all examples",
    )
    inputs: Literal["auto", "power", "standardized", "normalized"] = Field(
        "auto",
        description="Each feature is scaled to unit variance: as it is (`standardized`), after L2-normalising "
        "(`normalized`), or after the signed square root and L2-normalising (`power`)",
    )

    loss: Literal["auto", "squared", "huber"] = Field(
        "auto", description="Of numbers only: squared error, or Huber's, which forgives outliers; `auto`: squared"
    )


def promise(regime: Regime) -> float:
    """Always: it costs next to nothing beside the others."""
    return 1.5


def settings(hyperparameters: Hyperparameters, regime: Regime) -> list[Setting]:
    """Every λ of the grid with every kind of inputs, or what was asked for."""
    kinds = tuple(FORMS) if hyperparameters.inputs == "auto" else (hyperparameters.inputs,)
    strength = hyperparameters.regularization
    grid = (NUMBERS if regime.objective == "squared" else GRID) if strength == "auto" else (strength,)
    loss = "squared" if hyperparameters.loss == "auto" else hyperparameters.loss
    numbers = {"loss": loss} if regime.objective == "squared" else {}
    return [{"inputs": kind, "regularization": float(value)} | numbers for kind in kinds for value in grid]


def work(regime: Regime, settings: list[Setting]) -> float:
    """See `adapters.methods.Method.work`."""
    rounds = ROUNDS if any(setting.get("loss") == "huber" for setting in settings) else 1
    return rounds * shrinkage.work(len(settings), regime.examples / 5, regime.rank, regime.classes)


def fit(
    inputs: Inputs,
    targets: torch.Tensor,
    classes: int,
    settings: list[Setting],
    seed: int,
    cancelled: Callable[[], None],
    start: list[HeadProgram] | None = None,
    final: bool = False,
    objective: Objective = "softmax",
) -> list[HeadProgram]:
    """See `adapters.methods.Method.fit`. Deterministic: `seed` changes nothing."""
    programs: dict[int, HeadProgram] = {}
    wanted = _wanted(inputs, targets, classes, objective)
    for kind in dict.fromkeys(setting["inputs"] for setting in settings):
        for loss in dict.fromkeys(setting.get("loss") for setting in settings):
            chosen = [i for i, s in enumerate(settings) if (s["inputs"], s.get("loss")) == (kind, loss)]
            strengths = [settings[i]["regularization"] for i in chosen]
            rounds = ROUNDS if loss == "huber" else 0
            fitted = _fit_kind(inputs, wanted, objective, FORMS[kind], strengths, rounds, cancelled)
            programs |= zip(chosen, fitted, strict=True)
    return [programs[i] for i in range(len(settings))]


def left_out(
    inputs: Inputs,
    groups: torch.Tensor,
    targets: torch.Tensor,
    classes: int,
    settings: list[Setting],
    objective: Objective = "softmax",
) -> list[float]:
    """Mean squared error of examples left out: see `adapters.methods.LeavesOut.left_out`. None for Huber's loss."""
    if settings[0].get("loss") == "huber" or int(groups.unique(return_counts=True)[1].max()) > MOST_TOGETHER:
        return []
    strengths = len(inputs) * inputs.embeddings.new_tensor([setting["regularization"] for setting in settings])
    problem = _Problem(inputs, FORMS[settings[0]["inputs"]], strengths)
    wanted = _wanted(inputs, targets, classes, objective)
    errors = wanted - problem.answers(*problem.solve(wanted))  # [G, N, K]
    shown = len(inputs) // inputs.each  # rows of examples as they are, not of further views of them
    return [float(unseen[:shown].square().mean()) for unseen in problem.unseen(errors, groups)]


def _wanted(inputs: Inputs, targets: torch.Tensor, classes: int, objective: Objective) -> torch.Tensor:
    """What to come near to, f32 [N, K]."""
    wanted = targets if objective != "softmax" else torch.nn.functional.one_hot(targets, classes)
    return wanted.to(inputs.embeddings.dtype)


def _fit_kind(
    inputs: Inputs,
    wanted: torch.Tensor,
    objective: Objective,
    kind: Kind,
    strengths: list[float],
    rounds: int,
    cancelled: Callable[[], None],
) -> list[HeadProgram]:
    cancelled()
    steps = inputs.standardized(kind).steps
    problem = _Problem(inputs, kind, len(wanted) * inputs.embeddings.new_tensor(strengths))
    weights, biases = _solved(problem, wanted, rounds, cancelled)
    if objective != "squared":  # a logit has no natural spread, a value has; calibration finds where even odds are
        factor = shrinkage.spread(problem.axes.rotated @ weights)[:, None, None]
        weights, biases = weights * factor, biases * factor
    pairs = zip(problem.axes.back(weights.mT), biases[:, 0], strict=True)
    return [HeadProgram((*steps, Linear(numpy(weight), numpy(bias)))) for weight, bias in pairs]


def _solved(
    problem: "_Problem", wanted: torch.Tensor, rounds: int, cancelled: Callable[[], None]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [G, R, K] and biases [G, 1, K]: of least squares, and then by rounds of Huber's loss."""
    found = problem.solve(wanted)
    for _ in range(rounds):
        cancelled()
        said = problem.answers(*found)
        found = problem.solve(_forgiven(wanted, said))
        if float((problem.answers(*found) - said).abs().max()) < NEAR:
            break
    return found


def _forgiven(wanted: torch.Tensor, said: torch.Tensor) -> torch.Tensor:
    """Targets [N, K] drawn to within one of answers [G, N, K]: least squares on them step down Huber's loss.

    The corner is at one, as in mlp: a standard deviation of the target. His loss is nowhere more curved than the
    square, so these touch it from above (Huber & Dutter 1974), and each round costs one solve with the same scatter.
    """
    return said + (wanted - said).clamp(-1, 1)


class _Problem:
    """Mean squared error + λ ‖W‖² for G penalties N·λ at once, in principal axes."""

    def __init__(self, inputs: Inputs, kind: Kind, penalties: torch.Tensor) -> None:
        everyone = inputs.embeddings.new_ones(len(inputs), 1)
        self.axes, self.scatter, self.mean = shrinkage.around(inputs, kind, everyone)
        self.penalties = penalties

    def solve(self, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Targets [N, K], or of each penalty [G, N, K] → weights [G, R, K], biases [G, 1, K]."""
        level = wanted.mean(dim=-2, keepdim=True)  # what an input at the mean is worth
        weights = self.scatter.solve(self.axes.rotated.T @ (wanted - level), self.penalties)
        return weights, level - self.mean @ weights

    def answers(self, weights: torch.Tensor, biases: torch.Tensor) -> torch.Tensor:
        """What is said of the examples, [G, N, K]."""
        return self.axes.rotated @ weights + biases

    def unseen(self, errors: torch.Tensor, groups: torch.Tensor) -> Iterator[torch.Tensor]:
        """Errors [G, N, K] → for each penalty those of fits without the row's group, [N, K].

        One penalty at a time: all of them at once would take G times the memory of the examples.
        """
        rough = len(errors[0]) >= shrinkage.ROUGH_FROM
        of = errors.dtype if rough else torch.float64
        centred, scatter = (self.axes.rotated - self.mean).to(of), self.scatter.to(of)
        for penalty, error in zip(self.penalties.to(of), errors.to(of), strict=True):
            yield shrinkage.left_out(centred, scatter, penalty[None], error, groups)
