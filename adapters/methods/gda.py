"""Gaussian discriminant analysis: one Gaussian a class with a common, shrunk covariance; linear, in closed form.

Wang et al. (ICLR 2024, "A hard-to-beat baseline for training-free CLIP-based adaptation") found it ahead of trained
heads from four examples a class. The sample covariance of few examples is nearly singular, so it is drawn towards a
multiple of the identity: by as much as Ledoit and Wolf (2004) derive, or by amounts that the race compares.
"""

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from adapters.fitting import shrinkage
from adapters.fitting.inputs import CHUNK, Eigenbasis, Inputs, Kind, numpy
from adapters.fitting.shrinkage import Scatter
from adapters.methods import Regime, Setting
from adapters.types import HeadProgram, Linear, Objective

GRID: tuple[float | str, ...] = ("ledoit-wolf", 0.9, 0.7, 0.5, 0.3, 0.1, 0.03)
FORMS: dict[str, Kind] = {"power": "power", "standardized": "plain", "normalized": "normalized"}
LEAST = 1e-4  # shrinkage: below it float32 decides
OBJECTIVES: tuple[Objective, ...] = ("softmax",)
CLOSED_FORM = True


class Hyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    shrinkage: Literal["auto", "ledoit-wolf"] | Annotated[float, Field(ge=LEAST, lt=1)] = Field(
        "auto", description="How far the covariance is drawn to a multiple of the identity, 0 to 1; `auto` tries 7"
    )
    inputs: Literal["auto", "power", "standardized", "normalized"] = Field(
        "auto",
        description="Each feature is scaled to unit variance: as it is (`standardized`), after L2-normalising "
        "(`normalized`), or after the signed square root and L2-normalising (`power`)",
    )


def promise(regime: Regime) -> float:
    """From two examples a class: one says nothing of how examples of a class differ."""
    return 2.0 if regime.median >= 2 else 0.0


def settings(hyperparameters: Hyperparameters, regime: Regime) -> list[Setting]:
    """Every amount of shrinkage with every kind of inputs, or what was asked for."""
    kinds = tuple(FORMS) if hyperparameters.inputs == "auto" else (hyperparameters.inputs,)
    amounts = GRID if hyperparameters.shrinkage == "auto" else (hyperparameters.shrinkage,)
    return [{"inputs": kind, "shrinkage": amount} for kind in kinds for amount in amounts]


def work(regime: Regime, settings: list[Setting]) -> float:
    """See `adapters.methods.Method.work`."""
    left_out = regime.examples / 5 + regime.classes
    return shrinkage.work(len(settings), left_out, regime.rank, regime.classes)


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
    for kind in dict.fromkeys(setting["inputs"] for setting in settings):
        cancelled()
        chosen = [i for i, setting in enumerate(settings) if setting["inputs"] == kind]
        amounts = [settings[i]["shrinkage"] for i in chosen]
        programs |= zip(chosen, _fit_kind(inputs, targets, classes, FORMS[kind], amounts), strict=True)
    return [programs[i] for i in range(len(settings))]


def _fit_kind(
    inputs: Inputs, targets: torch.Tensor, classes: int, kind: Kind, amounts: list[float | str]
) -> list[HeadProgram]:
    steps = inputs.standardized(kind).steps
    indicator = torch.nn.functional.one_hot(targets, classes).to(inputs.embeddings.dtype)
    axes, scatter, means = shrinkage.around(inputs, kind, indicator)
    dimension = inputs.embeddings.shape[1]
    shares = torch.tensor([amount(a, axes, scatter, means, targets, dimension) for a in amounts]).to(means)
    typical = scatter.trace.clamp_min(1e-12) / dimension
    weights = scatter.solve(means.T, shares / (1 - shares) * typical)  # [G, R, K]
    weights = weights * (len(targets) / (1 - shares))[:, None, None]
    biases = indicator.mean(dim=0).log() - (means.T * weights).sum(dim=1) / 2  # [G, K]
    factor = shrinkage.spread(axes.rotated @ weights)[:, None]
    pairs = zip(axes.back(weights.mT * factor[:, None]), biases * factor, strict=True)
    return [HeadProgram((*steps, Linear(numpy(weight), numpy(bias)))) for weight, bias in pairs]


def amount(
    asked: float | str, axes: Eigenbasis, scatter: Scatter, means: torch.Tensor, targets: torch.Tensor, dimension: int
) -> float:
    """Shrinkage as a share of 0 to 1; Ledoit and Wolf's is how noisy the covariance is against how far from flat.

    `means` f32 [K, R] are those that `scatter` is around, targets i64 [N]; of the D dimensions R hold any variance.
    """
    if not isinstance(asked, str):
        return asked
    count = len(axes.rotated)
    covariance, typical = scatter.square / count**2, scatter.trace / count / dimension
    noise = _fourth(axes.rotated, means, targets) / count - covariance
    signal = covariance - dimension * typical**2
    return float((noise / count / signal.clamp_min(1e-12)).clamp(LEAST, 0.999))


def _fourth(rotated: torch.Tensor, means: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The sum over examples of their distance from their class's mean to the fourth power."""
    parts = zip(rotated.split(CHUNK), targets.split(CHUNK), strict=True)
    return torch.stack([(x - means[y]).square_().sum(dim=1).square_().sum() for x, y in parts]).sum()
