"""Ridge: least squares to one-hot labels, to several labels' yes and no, or to numbers, all penalties in closed form.

With few examples it is hard to beat and cannot fail to converge; Rifkin & Klautau (JMLR 2004) found one-vs-all least
squares as accurate as any other. One decomposition serves every penalty and every fold (adapters/shrinkage.py).
"""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from adapters import shrinkage
from adapters.inputs import Inputs, Kind, numpy
from adapters.methods import Regime, Setting
from adapters.types import HeadProgram, Linear, Objective

GRID = (300.0, 100.0, 30.0, 10.0, 3.0, 1.0, 0.3, 0.1)  # λ on inputs of unit variance
FORMS: dict[str, Kind] = {"power": "power", "standardized": "plain", "normalized": "normalized"}
OBJECTIVES: tuple[Objective, ...] = ("softmax", "sigmoid", "squared")


class Hyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    regularization: Literal["auto"] | Annotated[float, Field(gt=0, le=1e9)] = Field(
        "auto", description="λ in mean squared error + λ ‖W‖²; `auto` tries 8 from 300 to 0.1"
    )
    inputs: Literal["auto", "power", "standardized", "normalized"] = Field(
        "auto",
        description="Each feature is scaled to unit variance: as it is (`standardized`), after L2-normalising "
        "(`normalized`), or after the signed square root and L2-normalising (`power`)",
    )


def promise(regime: Regime) -> float:
    """Always: it costs next to nothing beside the others."""
    return 1.5


def settings(hyperparameters: Hyperparameters, regime: Regime) -> list[Setting]:
    """Every λ of the grid with every kind of inputs, or what was asked for."""
    kinds = tuple(FORMS) if hyperparameters.inputs == "auto" else (hyperparameters.inputs,)
    strength = hyperparameters.regularization
    grid = GRID if strength == "auto" else (strength,)
    return [{"inputs": kind, "regularization": float(value)} for kind in kinds for value in grid]


def work(regime: Regime, settings: list[Setting]) -> float:
    """See `adapters.methods.Method.work`."""
    left_out = regime.examples / 5
    return len(settings) * left_out**2 * (2 * regime.rank + left_out)


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
    wanted = targets if objective != "softmax" else torch.nn.functional.one_hot(targets, classes)  # [N, K]
    wanted = wanted.to(inputs.embeddings.dtype)
    for kind in dict.fromkeys(setting["inputs"] for setting in settings):
        cancelled()
        chosen = [i for i, setting in enumerate(settings) if setting["inputs"] == kind]
        strengths = [settings[i]["regularization"] for i in chosen]
        programs |= zip(chosen, _fit_kind(inputs, wanted, objective, FORMS[kind], strengths), strict=True)
    return [programs[i] for i in range(len(settings))]


def _fit_kind(
    inputs: Inputs, wanted: torch.Tensor, objective: Objective, kind: Kind, strengths: list[float]
) -> list[HeadProgram]:
    steps = inputs.standardized(kind).steps
    everyone = inputs.embeddings.new_ones(len(wanted), 1)
    axes, scatter, mean = shrinkage.around(inputs, kind, everyone)
    level = wanted.mean(dim=0)  # [K], what an input at the mean is worth
    penalties = len(wanted) * torch.tensor(strengths, dtype=mean.dtype, device=mean.device)
    weights = scatter.solve(axes.rotated.T @ (wanted - level), penalties)  # [G, R, K]
    biases = level - mean @ weights  # [G, 1, K]
    if objective != "squared":  # a logit has no natural spread, a value has; calibration finds where even odds are
        factor = shrinkage.spread(axes.rotated @ weights)[:, None, None]
        weights, biases = weights * factor, biases * factor
    pairs = zip(axes.back(weights.mT), biases[:, 0], strict=True)
    return [HeadProgram((*steps, Linear(numpy(weight), numpy(bias)))) for weight, bias in pairs]
