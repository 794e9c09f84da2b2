"""Calibration: the few numbers that make a head's confidence mean what it says (Guo et al., ICML 2017; Platt 1999)."""

import numpy as np
import torch

from adapters.types import Floats, Indices

LOWEST, HIGHEST = 0.05, 20.0  # temperatures
PRIOR, LEAST_SLOPE = 1.0, 0.01  # of Platt's scaling, on logits of a root mean square of one
NEWTON_STEPS, MOST_STEP = 30, 2.0
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


def platt(logits: Floats, targets: Floats) -> tuple[Floats, Floats]:
    """Shift and scale f32 [K] for which σ((z − shift)·scale) fits best; logits and targets (0 or 1) f32 [N, K].

    Platt (1999), his targets included. A label with few examples stays near the scale that fits all labels together:
    a Gaussian prior of precision PRIOR holds it there, which is as much as that many sure examples say.
    """
    z, y = (torch.from_numpy(np.asarray(a, dtype=np.float64)) for a in (logits, targets))
    if not len(z):
        return np.zeros(z.shape[1], np.float32), np.ones(z.shape[1], np.float32)
    unit = z.square().mean().sqrt().clamp_min(1e-12)
    z = z / unit  # logits of a root mean square of one: the prior means the same for every method
    given = y.sum(dim=0)
    wanted = torch.where(y > 0, (given + 1) / (given + 2), 1 / (len(y) - given + 2))
    shared = _newton(z.reshape(-1, 1), wanted.reshape(-1, 1), torch.zeros(2, dtype=z.dtype))[0]
    slope, bias = _newton(z, wanted, shared).T
    slope = slope.clamp_min(LEAST_SLOPE)
    return (-bias / slope * unit).float().numpy(), (slope / unit).float().numpy()


def _newton(z: torch.Tensor, wanted: torch.Tensor, prior: torch.Tensor) -> torch.Tensor:
    """Slope and bias [K, 2] of logistic regressions on one input each, z [N, K], around `prior` [2]."""
    point = prior.expand(z.shape[1], 2).clone()
    inputs = torch.stack([z, torch.ones_like(z)], dim=2)  # [N, K, 2]
    for _ in range(NEWTON_STEPS):
        p = (inputs * point).sum(dim=2).sigmoid()
        gradient = (inputs * (p - wanted)[:, :, None]).sum(dim=0) + PRIOR * (point - prior)
        weight = (p * (1 - p)).clamp_min(1e-9)
        hessian = torch.einsum("nki,nk,nkj->kij", inputs, weight, inputs) + PRIOR * torch.eye(2, dtype=z.dtype)
        step = torch.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        point = point - step * (MOST_STEP / step.norm(dim=1, keepdim=True).clamp_min(MOST_STEP))
    return point
