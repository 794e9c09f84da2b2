"""Calibration: the few numbers that make a head's confidence mean what it says (Guo et al., ICML 2017; Platt 1999)."""

from collections.abc import Sequence

import numpy as np
import torch

from adapters.types import Floats, Indices

LOWEST, HIGHEST = 0.05, 20.0  # temperatures
PRIOR, LEAST_SLOPE = 1.0, 0.01  # of Platt's scaling, on logits of a root mean square of one
NEWTON_STEPS, NEWTON_ENDS, MOST_STEP = 30, 1e-8, 2.0
FEW = 20.0  # examples from which on the correction of a temperature counts for half or more
LEAST_FOLDS = 3  # that there is one from
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


def correction(own: Sequence[Floats], rivals: Sequence[Sequence[Floats]], targets: Sequence[Indices]) -> float:
    """What to multiply a winner's temperature by, for it was chosen among `rivals` and fitted on the same answers.

    Of each fold: out-of-fold logits over the temperature that fits them, f32 [M, K], and targets i64 [M]. Who wins on
    some examples looks better on them than it is. So the choice is made once more without each fold, and what was
    chosen answers it: the same choice and temperature, of examples that neither has seen (nested cross-validation:
    Stone 1974; Varma & Simon 2006). One temperature is fitted to these answers and the winner's own. Two answers of an
    example also halve what Platt's targets hold back, which was too much. Of N examples it counts for N / (N + FEW),
    as an estimate from a handful is mostly luck (docs/adr/0011); two folds leave but one to choose on: no correction.
    """
    wanted = np.concatenate(targets)
    if len(targets) < LEAST_FOLDS:
        return 1.0
    answers = np.concatenate([*own, *_of_the_unseen(rivals, targets)])
    found = temperature(answers, np.concatenate([wanted, wanted]))
    return float(found ** (len(wanted) / (len(wanted) + FEW)))


def _of_the_unseen(rivals: Sequence[Sequence[Floats]], targets: Sequence[Indices]) -> list[Floats]:
    """Calibrated logits [M, K] of each fold: those of the rival with the least loss on all others."""
    losses, found = np.array([_fold_losses(rival, targets) for rival in rivals]), []  # [C, F]
    for left_out in range(len(targets)):
        others = [fold for fold in range(len(targets)) if fold != left_out]
        best = rivals[int(losses[:, others].sum(axis=1).argmin())]
        heat = temperature(np.concatenate([best[f] for f in others]), np.concatenate([targets[f] for f in others]))
        found.append(best[left_out] / heat)
    return found


def _fold_losses(logits: Sequence[Floats], targets: Sequence[Indices]) -> list[float]:
    """The summed cross-entropy of each fold."""
    pairs, entropy = zip(logits, targets, strict=True), torch.nn.functional.cross_entropy
    return [float(entropy(torch.from_numpy(z), torch.from_numpy(y), reduction="sum")) for z, y in pairs]


def spread(logits: Floats) -> float:
    """How far logits [N, K] of one example lie apart: their standard deviation, averaged over examples."""
    return float(logits.std(axis=1).mean())


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
    slope, bias = (part.expand(z.shape[1]).clone() for part in prior)
    for _ in range(NEWTON_STEPS):
        p = (z * slope + bias).sigmoid()
        off, weight = p - wanted, (p * (1 - p)).clamp_min(1e-9)
        g, h = (z * off).sum(0) + PRIOR * (slope - prior[0]), off.sum(0) + PRIOR * (bias - prior[1])
        a, b, c = (z * z * weight).sum(0) + PRIOR, (z * weight).sum(0), weight.sum(0) + PRIOR
        step = torch.stack([c * g - b * h, a * h - b * g]) / (a * c - b * b)
        step = step * (MOST_STEP / step.norm(dim=0).clamp_min(MOST_STEP))
        slope, bias = slope - step[0], bias - step[1]
        if float(step.abs().max()) < NEWTON_ENDS:
            break
    return torch.stack([slope, bias], dim=1)
