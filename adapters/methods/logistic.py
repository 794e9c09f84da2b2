"""Logistic regression with an L2 penalty, multinomial or label by label, a whole grid of penalties solved at once.

The penalty matters more than anything else about a linear head, so every strength is tried: one batched L-BFGS over
stacked weights costs about what one strength alone does, since the product with the embeddings is shared. It runs in
the eigenbasis of the embeddings' covariance: there the Hessian at zero is diagonal, which makes the first step Newton's
and halves the rest, and with fewer examples than dimensions only the row span is left to solve in.
Objective, as scikit-learn's with C = 1 / (N·λ): mean cross-entropy + λ/2 ‖W‖², bias free.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field

from adapters.fitting.inputs import Inputs, Kind, numpy
from adapters.methods import Regime, Setting
from adapters.types import Affine, HeadProgram, Linear, Objective

GRID = (4.0, 1.0, 0.25, 0.06, 0.015, 0.004, 0.001, 2.5e-4, 6e-5)  # λ on inputs of unit variance
FORMS: dict[str, Kind] = {"power": "power", "standardized": "plain", "normalized": "normalized"}
IMBALANCED = 3.0  # largest class over smallest, from which `auto` tries both priors
MOST_LOGITS = 5e7  # N·G·K floats in memory at a time: larger grids are solved in parts
MEMORY = 5  # pairs that L-BFGS remembers
ITERATIONS = 100  # only penalties far below the best need more: they are as good as solved
TOLERANCE = 1e-6  # of the objective: about how far from its least a problem may stop
COMPARING = 1e-3  # the same where candidates are only compared: the winner is fitted again
COMPARISONS = 30  # iterations there: 16 do but for a hundred classes of a few, whose weak penalties go on and on
EASY = 0.1  # nats: where the objective is far below, as on separable data, digits that nobody can see are not chased
BACKTRACKS = 12
SUFFICIENT = 1e-4  # Armijo's constant
NOISE = 1e-6  # of the objective, float32 rounding: a smaller rise is none
WARM = 0.25  # examples a dimension from which a start is worth more than the eigenbasis
OBJECTIVES: tuple[Objective, ...] = ("softmax", "sigmoid")
CLOSED_FORM = False


class Hyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    regularization: Literal["auto"] | Annotated[float, Field(gt=0, le=1e6)] = Field(
        "auto", description="λ in mean cross-entropy + λ/2 ‖W‖²; `auto` tries 9 from 4 to 0.00006"
    )
    inputs: Literal["auto", "power", "standardized", "normalized"] = Field(
        "auto",
        description="Each feature is scaled to unit variance: as it is (`standardized`), after L2-normalising "
        "(`normalized`), or after the signed square root and L2-normalising (`power`)",
    )
    prior: Literal["auto", "data", "uniform"] = Field(
        "auto",
        description="`uniform` takes the classes' log frequencies off the logits (Menon et al., ICLR 2021), so that a "
        "rare class counts as much as a common one; `auto` tries it where classes differ threefold in size",
    )


def promise(regime: Regime) -> float:
    """First from five examples a class; below that the penalty keeps it sane."""
    return 3.0 if regime.median >= 5 else 1.0


def settings(hyperparameters: Hyperparameters, regime: Regime) -> list[Setting]:
    """Every λ of the grid with every kind of inputs and prior, or what was asked for."""
    kinds = tuple(FORMS) if hyperparameters.inputs == "auto" else (hyperparameters.inputs,)
    strength = hyperparameters.regularization
    grid = GRID if strength == "auto" else (strength,)
    unlike = regime.objective == "softmax" and regime.largest >= IMBALANCED * regime.smallest
    both = ("data", "uniform") if unlike else ("data",)
    priors = both if hyperparameters.prior == "auto" else (hyperparameters.prior,)
    return [
        {"inputs": kind, "regularization": float(value), "prior": prior}
        for kind in kinds
        for value in grid
        for prior in priors
    ]


def work(regime: Regime, settings: list[Setting]) -> float:
    """See `adapters.methods.Method.work`; 25: measured, of the iterations of a whole grid."""
    strengths = len({setting["regularization"] for setting in settings})
    return 25.0 * strengths * regime.examples * regime.rank * regime.classes


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
        chosen = {i: settings[i]["regularization"] for i, s in enumerate(settings) if s["inputs"] == kind}
        strengths = list(dict.fromkeys(chosen.values()))
        begin = [start[next(i for i in chosen if chosen[i] == value)] for value in strengths] if start else None
        fitted = _fit_kind(inputs, targets, classes, FORMS[kind], strengths, cancelled, begin, final, objective)
        solved = dict(zip(strengths, fitted, strict=True))
        programs |= {i: _with_prior(solved[value], targets, settings[i]["prior"]) for i, value in chosen.items()}
    return [programs[i] for i in range(len(settings))]


def _with_prior(program: HeadProgram, targets: torch.Tensor, prior: str) -> HeadProgram:
    if prior == "data":
        return program
    *first, linear = program.steps
    assert isinstance(linear, Linear)
    shares = torch.bincount(targets, minlength=len(linear.bias)) / len(targets)
    return HeadProgram((*first, Linear(linear.weight, linear.bias - numpy(shares.log()))))


def _fit_kind(
    inputs: Inputs,
    targets: torch.Tensor,
    classes: int,
    kind: Kind,
    strengths: list[float],
    cancelled: Callable[[], None],
    start: list[HeadProgram] | None,
    final: bool,
    objective: Objective,
) -> list[HeadProgram]:
    form = inputs.standardized(kind)
    # Near the answer the eigenbasis saves less than it costs, unless there are few examples and it is small.
    start = start if start is not None and len(inputs) >= WARM * form.x.shape[1] else None
    axes = inputs.eigenbasis(kind, exact=final) if start is None else None
    x, variances = (axes.rotated, axes.variances) if axes else (form.x, form.x.square().mean(dim=0))
    programs = []
    problem = _PROBLEMS[objective](x, variances, targets, classes)
    for part, begin in _parts(strengths, start, len(x) * classes):
        penalties = torch.tensor(part, dtype=x.dtype, device=x.device)
        point = _point(begin, form.shift, form.scale) if begin else None
        tolerance = TOLERANCE if final else COMPARING
        weights, biases = problem.solve(penalties, cancelled, point, tolerance)
        unrotated = axes.back(weights) if axes else weights.mT
        for weight, bias in zip(unrotated, biases, strict=True):
            programs.append(HeadProgram((*form.steps, Linear(numpy(weight), numpy(bias)))))
    return programs


def _point(programs: list[HeadProgram], shift: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Fitted programs in the coordinates of other data's standardisation: [G, K, D+1], the bias last."""
    points = []
    for program in programs:
        affine, linear = program.steps[-2:]
        assert isinstance(affine, Affine) and isinstance(linear, Linear)
        old_shift, old_scale, weight, bias = (
            torch.as_tensor(array).to(shift) for array in (affine.shift, affine.scale, linear.weight, linear.bias)
        )
        weight = weight * old_scale[:, None]  # on what is not standardised
        bias = bias + (shift - old_shift) @ weight
        weight = weight * torch.where(scale > 0, 1 / scale.clamp_min(1e-30), torch.zeros_like(scale))[:, None]
        points.append(torch.cat([weight.T, bias[:, None]], dim=1))
    return torch.stack(points)


def _parts(
    strengths: list[float], start: list[HeadProgram] | None, logits_each: int
) -> Iterator[tuple[list[float], list[HeadProgram] | None]]:
    size = max(1, int(MOST_LOGITS // logits_each))
    for i in range(0, len(strengths), size):
        yield strengths[i : i + size], start[i : i + size] if start else None


@dataclass(slots=True)
class _State:
    """The problems still running: point and gradient [G, K, R+1], logits [G, K, N], objective [G], L-BFGS's pairs.

    In this layout one product serves all problems, the softmax runs along memory, and an inner product is one sweep.
    """

    index: torch.Tensor  # [G], which problems these are
    penalty: torch.Tensor  # [G]
    curvature: torch.Tensor  # [G, 1], the mean of p·(1 − p), or that of each label, [G, K]
    point: torch.Tensor
    logits: torch.Tensor
    value: torch.Tensor
    gradient: torch.Tensor
    steps: list[torch.Tensor] = field(default_factory=list)  # s, [G, K, R+1] each
    changes: list[torch.Tensor] = field(default_factory=list)  # y, the same
    curvatures: list[torch.Tensor] = field(default_factory=list)  # 1 / sᵀy, [G] each; 0 where the pair tells nothing

    def keep(self, running: torch.Tensor) -> None:
        """Drop the problems that are done, so that the rest cost only what they need."""
        for name in ("index", "penalty", "curvature", "point", "logits", "value", "gradient"):
            setattr(self, name, getattr(self, name)[running])
        for name in ("steps", "changes", "curvatures"):
            setattr(self, name, [pair[running] for pair in getattr(self, name)])


class _Problem:
    """Mean cross-entropy + λ/2 ‖W‖² for G penalties at once; inputs [N, R] have uncorrelated centred columns."""

    def __init__(self, rotated: torch.Tensor, variances: torch.Tensor, targets: torch.Tensor, classes: int) -> None:
        self.x = rotated  # [N, R]; the bias goes without a column, which would take a copy of all
        self.variances = torch.cat([variances, variances.new_ones(1)])  # [R+1]
        self.targets, self.classes, self.rows = targets, classes, torch.arange(len(targets), device=targets.device)
        self.penalized = self.x.new_ones(self.x.shape[1] + 1)
        self.penalized[-1] = 0  # the bias is free

    def solve(
        self,
        penalties: torch.Tensor,
        cancelled: Callable[[], None],
        start: torch.Tensor | None = None,
        tolerance: float = TOLERANCE,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Penalties [G] → weights [G, K, R], biases [G, K].

        `start` [G, K, R+1], weights and then biases, is a warm start. Each problem has its own step size and stops by
        itself.
        """
        state = self.begin(penalties, start)
        result = state.point.clone()
        for _ in range(COMPARISONS if tolerance >= COMPARING else ITERATIONS):
            cancelled()
            direction = _direction(state, self.preconditioner(state))
            slope = _dot(state.gradient, direction)  # [G], −slope/2 estimates how far the objective is from its least
            running = -slope > tolerance * (state.value + EASY)
            if not bool(running.all()):
                result[state.index] = state.point
                state.keep(running)
                direction, slope = direction[running], slope[running]
            if not len(state.index):
                break
            moved = self.step(state, direction, slope)
            if not bool(moved.all()):  # no step lowers the objective any more: that is float32's floor
                result[state.index] = state.point
                state.keep(moved)
        result[state.index] = state.point
        return result[:, :, :-1], result[:, :, -1]

    def begin(self, penalties: torch.Tensor, start: torch.Tensor | None) -> _State:
        """All problems at `start`, or at zero."""
        zero = self.x.new_zeros(len(penalties), self.classes, self.x.shape[1] + 1)
        point = zero if start is None else start.clone()
        logits = self.along(point)
        gradient, curvature = self.gradient(logits, point, penalties)
        index = torch.arange(len(penalties), device=self.x.device)
        value = self.value(logits, point, penalties)
        return _State(index, penalties, curvature, point, logits, value, gradient)

    def preconditioner(self, state: _State) -> torch.Tensor:
        """The Hessian's inverse diagonal, were all examples as uncertain as the mean; [G, 1 or K, R+1]."""
        penalty = state.penalty[:, None, None] * self.penalized
        return 1 / (state.curvature[:, :, None] * self.variances + penalty).clamp_min(1e-12)

    def along(self, direction: torch.Tensor) -> torch.Tensor:
        """What a direction [G, K, R+1] adds to the logits, [G, K, N]."""
        weights, bias = direction[:, :, :-1].flatten(0, 1), direction[:, :, -1:]
        return (weights @ self.x.T).view(len(direction), self.classes, -1).add_(bias)

    def value(self, logits: torch.Tensor, point: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        """The objective, [G]."""
        weights = point[:, :, :-1]
        return self.loss(logits) + penalty / 2 * _dot(weights, weights)

    def loss(self, logits: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of logits [G, K, N], [G]."""
        # log(1 + Σ exp(zₖ − z_truth)) keeps its digits where logsumexp − z_truth cancels: separable data live there.
        margins = logits - logits[:, self.targets, self.rows][:, None]
        margins[:, self.targets, self.rows] = -torch.inf
        return torch.nn.functional.softplus(margins.logsumexp(dim=1)).mean(dim=1)

    def gradient(
        self, logits: torch.Tensor, point: torch.Tensor, penalty: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """[G, K, R+1], and the curvature."""
        residual, curvature = self.residual(logits)
        product = (residual.flatten(0, 1) @ self.x).view(*residual.shape[:2], -1)
        product = torch.cat([product, residual.sum(dim=2, keepdim=True)], dim=2) / len(self.x)
        return product + point * (penalty[:, None, None] * self.penalized), curvature

    def residual(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """p − y [G, K, N], and the mean of p·(1 − p), [G, 1]."""
        residual = logits.softmax(dim=1)
        curvature = (1 / self.classes) - (residual * residual).mean(dim=(1, 2))[:, None]
        residual[:, self.targets, self.rows] = 0
        residual[:, self.targets, self.rows] = -residual.sum(dim=1)  # p − 1 without cancelling, as in `loss`
        return residual, curvature

    def step(self, state: _State, direction: torch.Tensor, slope: torch.Tensor) -> torch.Tensor:
        """Move each problem along its direction; which ones could be moved, [G]."""
        along = self.along(direction)
        size, state.value = self.search(state, direction, along, slope)
        step = direction * size[:, None, None]
        state.point = state.point + step
        state.logits = state.logits + along * size[:, None, None]
        gradient, state.curvature = self.gradient(state.logits, state.point, state.penalty)
        _remember(state, step, gradient - state.gradient)
        state.gradient = gradient
        return size > 0

    def search(
        self, state: _State, direction: torch.Tensor, along: torch.Tensor, slope: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Armijo backtracking, a step size [G] each; logits are linear, so a trial costs no product with the inputs."""
        size, done, value = torch.ones_like(slope), slope > 0, state.value
        for _ in range(BACKTRACKS):
            wide = size[:, None, None]
            trial = self.value(state.logits + along * wide, state.point + direction * wide, state.penalty)
            fits = trial <= state.value + SUFFICIENT * size * slope + NOISE * state.value
            value = torch.where(fits & ~done, trial, value)
            done = done | fits
            if bool(done.all()):
                return size, value
            # The least of the parabola through what is known, kept within a sane part of the last step.
            best = -slope * size / (2 * ((trial - state.value) / size - slope)).clamp_min(1e-20)
            size = torch.where(done, size, torch.minimum(torch.maximum(best, 0.1 * size), 0.5 * size))
        return torch.where(done, size, torch.zeros_like(size)), value


class _Separate(_Problem):
    """The same for labels that are each yes or no: binary cross-entropy, summed over labels; targets f32 [N, K]."""

    def loss(self, logits: torch.Tensor) -> torch.Tensor:
        signs = 1 - 2 * self.targets.T  # −1 where the label applies
        return torch.nn.functional.softplus(logits * signs).sum(dim=1).mean(dim=1)

    def residual(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        signs = 1 - 2 * self.targets.T
        wrong = (logits * signs).sigmoid()  # the probability of the side that is not so
        return signs * wrong, (wrong * (1 - wrong)).mean(dim=2)


_PROBLEMS: dict[str, type[_Problem]] = {"softmax": _Problem, "sigmoid": _Separate}


def _direction(state: _State, preconditioner: torch.Tensor) -> torch.Tensor:
    """L-BFGS's two loops (Nocedal & Wright, algorithm 7.4) for all problems at once: −H⁻¹·gradient, [G, K, R+1]."""
    q, factors = state.gradient, []
    for s, y, c in zip(reversed(state.steps), reversed(state.changes), reversed(state.curvatures), strict=True):
        factors.append(c * _dot(s, q))
        q = q - y * factors[-1][:, None, None]
    r = q * (preconditioner * _scaling(state, preconditioner)[:, None, None])
    for s, y, c in zip(state.steps, state.changes, state.curvatures, strict=True):
        r = r + s * (factors.pop() - c * _dot(y, r))[:, None, None]
    return -r


def _scaling(state: _State, preconditioner: torch.Tensor) -> torch.Tensor:
    """sᵀy / yᵀMy of the last pair, [G]: how far the preconditioner M is from the curvature met since."""
    if not state.steps:
        return torch.ones_like(state.penalty)
    y, c = state.changes[-1], state.curvatures[-1]
    product = c * _dot(y, y * preconditioner)
    return torch.where(product > 0, 1 / product.clamp_min(1e-30), torch.ones_like(product))


def _remember(state: _State, step: torch.Tensor, change: torch.Tensor) -> None:
    product = _dot(step, change)
    state.steps.append(step)
    state.changes.append(change)
    # Not positive only where float32 has nothing more to say: such a pair counts for nothing.
    state.curvatures.append(torch.where(product > 1e-20, 1 / product.clamp_min(1e-20), torch.zeros_like(product)))
    if len(state.steps) > MEMORY:
        for pairs in (state.steps, state.changes, state.curvatures):
            pairs.pop(0)


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Inner products problem by problem, [G]."""
    return (a * b).flatten(1).sum(dim=1)
