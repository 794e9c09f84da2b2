"""Several labels, each yes or no: binary cross-entropy summed over labels, calibrated label by label."""

import numpy as np
import torch

from adapters.training.race.objectives import Calibration
from adapters.training.trust.calibrate import platt
from adapters.types import Affine, Floats, Indices, Step


def scaled(targets: Floats, rest: Indices) -> tuple[Floats, tuple[Step, ...]]:
    """Zeros and ones have no scale."""
    return targets, ()


def counts(targets: Floats, outputs: int) -> Indices:
    """Examples of the rarer side of each label."""
    given = (targets > 0).sum(axis=0)
    found: Indices = np.minimum(given, len(targets) - given).astype(np.int64)
    return found


def calibrate(raw: Floats, targets: Floats) -> Calibration:
    """Platt's scaling of each label: z → (z − shift)·scale."""
    shift, scale = platt(raw, targets)
    return Calibration((Affine(shift, scale),), {"platt": {"shift": shift.tolist(), "scale": scale.tolist()}})


def losses(calibrated: Floats, targets: Floats) -> Floats:
    """Binary cross-entropy summed over labels, in nats."""
    z, y = torch.from_numpy(calibrated), torch.from_numpy(targets)
    each = torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(dim=1)
    found: Floats = each.numpy()
    return found


def score(calibrated: Floats, targets: Floats) -> dict[str, float]:
    """The share of single decisions that are right, at even odds."""
    return {"label_accuracy": float(((calibrated > 0) == (targets > 0)).mean())}
