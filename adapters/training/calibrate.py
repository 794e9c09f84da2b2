"""Temperature scaling: one number that makes a head's confidence mean what it says (Guo et al., ICML 2017)."""

import numpy as np
import torch

from adapters.types import Floats, Indices

LOWEST, HIGHEST = 0.05, 20.0  # temperatures
STEPS = 26  # of bisection over log T: (log 400) / 2²⁶, float32's precision


def temperature(logits: Floats, targets: Indices) -> float:
    """The T in 0.05…20 for which softmax(logits / T) fits the targets best; logits f32 [N, K], targets i64 [N].

    The fit is to Platt's targets (1999), not to hard ones: the true class counts (N+1)/(N+2), the others share the
    rest. A head that got N of N right then claims what Laplace's rule of succession allows and no more; with hard
    targets a separable handful of examples drives T to zero. For a hundred examples or more it changes little.
    """
    if not len(targets):
        return 1.0
    z = torch.as_tensor(np.asarray(logits, dtype=np.float32))
    z = z - z.max(dim=1, keepdim=True).values
    wanted = _wanted(z, torch.as_tensor(targets))
    low, high = 1 / HIGHEST, 1 / LOWEST  # of the inverse temperature, in which the loss is convex
    for _ in range(STEPS):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _slope(z, wanted, middle) < 0 else (low, middle)
    return 1 / (low * high) ** 0.5


def _wanted(z: torch.Tensor, targets: torch.Tensor) -> float:
    """The mean logit under Platt's targets."""
    n, k = z.shape
    of_truth = z.gather(1, targets[:, None])[:, 0].double()
    others = (z.double().sum(dim=1) - of_truth) / max(k - 1, 1)
    sure = (n + 1) / (n + 2)
    return float((sure * of_truth + (1 - sure) * others).mean())


def _slope(z: torch.Tensor, wanted: float, inverse: float) -> float:
    """The derivative of the loss in 1/T: the mean logit that the head expects less the one that it should."""
    return float(((z * inverse).softmax(dim=1) * z).sum(dim=1).double().mean()) - wanted
