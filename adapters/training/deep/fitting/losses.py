"""What fits make small, by objective, of raw outputs [M, K]; targets are those that `race.objectives` scales."""

from collections.abc import Callable

import torch
from torch.nn import functional

from adapters.types import Objective

Loss = Callable[[torch.Tensor, torch.Tensor, float], torch.Tensor]


def of(objective: Objective) -> Loss:
    """(raw f32 [M, K], targets i64 [M] or f32 [M, K], label smoothing) → the summed loss of M examples."""
    return _LOSSES[objective]


def _softmax(raw: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Class numbers, or shares of classes where examples are mixed."""
    return functional.cross_entropy(raw, targets, label_smoothing=smoothing, reduction="sum")


def _sigmoid(raw: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    smooth = targets * (1 - smoothing) + smoothing / 2
    return functional.binary_cross_entropy_with_logits(raw, smooth, reduction="sum")


def _squared(raw: torch.Tensor, targets: torch.Tensor, smoothing: float) -> torch.Tensor:
    """Numbers have no labels to smooth."""
    return functional.mse_loss(raw, targets, reduction="none").mean(dim=1).sum()


_LOSSES: dict[Objective, Loss] = {"softmax": _softmax, "sigmoid": _sigmoid, "squared": _squared}
