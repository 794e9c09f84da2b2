"""Numbers: squared error in units of each target's variance, so that a millimetre and a tonne count alike."""

import numpy as np

from adapters.training.race.objectives import Calibration
from adapters.types import Affine, Floats, Indices, Step


def scaled(targets: Floats, rest: Indices) -> tuple[Floats, tuple[Step, ...]]:
    """Targets of mean zero and variance one over the examples trained on, and the way back to the caller's units."""
    taught = targets[rest].astype(np.float64)
    mean, spread = taught.mean(axis=0), np.maximum(taught.std(axis=0), 1e-9)
    back = Affine((-mean / spread).astype(np.float32), spread.astype(np.float32))
    return ((targets - mean) / spread).astype(np.float32), (back,)


def counts(targets: Floats, outputs: int) -> Indices:
    """Every example teaches every target."""
    return np.full(outputs, len(targets), np.int64)


def calibrate(raw: Floats, targets: Floats) -> Calibration:
    """Nothing: a mean is not a probability."""
    return Calibration()


def losses(calibrated: Floats, targets: Floats) -> Floats:
    """Squared error, mean over targets: 1 is no better than the mean, 0 is perfect."""
    found: Floats = np.square(calibrated - targets).mean(axis=1)
    return found


def score(calibrated: Floats, targets: Floats) -> dict[str, float]:
    """The share of the variance that is explained."""
    left = np.square(calibrated - targets).mean(axis=0) / np.maximum(targets.var(axis=0), 1e-12)
    return {"r2": float((1 - left).mean())}
