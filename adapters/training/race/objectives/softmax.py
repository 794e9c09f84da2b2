"""One class of several: cross-entropy, calibrated by a temperature."""

import numpy as np
import torch

from adapters.training.race.objectives import Calibration
from adapters.training.trust.calibrate import temperature
from adapters.types import Floats, Indices, Scale, Step


def scaled(targets: Indices, rest: Indices) -> tuple[Indices, tuple[Step, ...]]:
    """Class numbers have no scale."""
    return targets, ()


def counts(targets: Indices, outputs: int) -> Indices:
    """Examples of each class."""
    return np.bincount(targets, minlength=outputs)


def calibrate(raw: Floats, targets: Indices) -> Calibration:
    """The temperature that fits best (Guo et al., ICML 2017)."""
    return divided(temperature(raw, targets))


def divided(heat: float) -> Calibration:
    """Logits over a temperature."""
    return Calibration((Scale(1 / heat),), {"temperature": heat})


def losses(calibrated: Floats, targets: Indices) -> Floats:
    """Cross-entropy, in nats."""
    each = torch.nn.functional.cross_entropy(torch.from_numpy(calibrated), torch.from_numpy(targets), reduction="none")
    found: Floats = each.numpy()
    return found


def score(calibrated: Floats, targets: Indices) -> dict[str, float]:
    """The share that is right."""
    return {"accuracy": float((calibrated.argmax(axis=1) == targets).mean())}
