"""Class means: an embedding belongs to the class whose mean points its way (Snell et al., NeurIPS 2017).

Embeddings are centred and L2-normalised first, which is worth more than any cleverer distance (SimpleShot, Wang et
al. 2019). Nothing is optimised, so it leads where there are one or two examples a class and cannot over-fit.
"""

from collections.abc import Callable
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from adapters.fitting.inputs import Inputs, Kind, normalized, numpy
from adapters.methods import Regime, Setting
from adapters.types import Affine, HeadProgram, L2Normalize, Linear, Objective

COSINE_SCALE = 20.0  # logits = 20·cosine, so that the temperature found by calibration is near one
FEW = 50  # examples of the median class; above that a discriminative method has always won our races
OBJECTIVES: tuple[Objective, ...] = ("softmax",)
CLOSED_FORM = True


class Hyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    inputs: Literal["auto", "plain", "power"] = Field(
        "auto", description="`power` takes the signed square root of each embedding first; `auto` tries both"
    )


def promise(regime: Regime) -> float:
    """Few examples a class: with more it is only slower to say what logistic says better."""
    return 0.5 if regime.median <= FEW else 0.0


def settings(hyperparameters: Hyperparameters, regime: Regime) -> list[Setting]:
    """Plain and power-normalised inputs, or the one that was asked for."""
    choice = hyperparameters.inputs
    return [{"inputs": inputs} for inputs in (("plain", "power") if choice == "auto" else (choice,))]


def work(regime: Regime, settings: list[Setting]) -> float:
    """See `adapters.methods.Method.work`."""
    return len(settings) * 4.0 * regime.examples * regime.dimension * regime.classes


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
    cancelled()
    return [_program(inputs, targets, classes, setting["inputs"]) for setting in settings]


def _program(inputs: Inputs, targets: torch.Tensor, classes: int, kind: Kind) -> HeadProgram:
    first, x = inputs.form(kind)
    one_hot = torch.nn.functional.one_hot(targets, classes).to(x.dtype)  # [N, K]
    counts = one_hot.sum(dim=0)[:, None]
    shift = ((one_hot.T @ x) / counts).mean(dim=0)  # the mean of class means: imbalance must not pull the origin
    means = (one_hot.T @ normalized(x - shift)) / counts  # [K, D]
    weight = COSINE_SCALE * normalized(means).T  # [D, K]
    affine = Affine(numpy(shift), numpy(torch.ones_like(shift)))
    linear = Linear(numpy(weight), numpy(weight.new_zeros(classes)))
    return HeadProgram((*first, affine, L2Normalize(), linear))
