"""Shrunken solves: (S + λI)·Z = B for many λ at once, where S is a scatter matrix of some of the examples.

In the principal axes of all examples their scatter is diagonal, so that of a fold is a diagonal less a few outer
products: those of the examples left out, and of means. Woodbury's identity then needs a small system for each λ, and no
decomposition for each fold.
"""

from dataclasses import dataclass

import torch

from adapters.fitting.inputs import Eigenbasis, Inputs, Kind

ROUGH_FROM = 300  # examples: penalties are far above the axes that float32 loses of so many, and float64 is dear
LEAST = 1e-6  # of an error that a fit leaves of an example, where rounding would say that it is fitted exactly
EIGENVALUES = 6  # products of a matrix with itself that take as long as its eigenvalues and vectors: measured, 4 to 6
LOGIT_SPREAD = 3.0  # nats: about what a trained head's logits spread by, so that calibration begins near one


@dataclass(frozen=True, slots=True)
class Scatter:
    """S = diag(diagonal) − lessᵀ·less, positive semidefinite."""

    diagonal: torch.Tensor  # f32 [R]
    less: torch.Tensor  # f32 [M, R]

    @property
    def trace(self) -> torch.Tensor:
        """The sum of S's eigenvalues."""
        return self.diagonal.sum() - self.less.square().sum()

    @property
    def square(self) -> torch.Tensor:
        """The sum of their squares, ‖S‖²."""
        cross = ((self.less.square()) @ self.diagonal).sum()
        return self.diagonal.square().sum() - 2 * cross + (self.less @ self.less.T).square().sum()

    def to(self, dtype: torch.dtype) -> "Scatter":
        """The same in another precision."""
        return Scatter(self.diagonal.to(dtype), self.less.to(dtype))

    def solve(self, columns: torch.Tensor, penalties: torch.Tensor) -> torch.Tensor:
        """Columns B [R, K], or of each penalty [G, R, K], and penalties λ [G] → Z [G, R, K]."""
        inverse = 1 / (self.diagonal + penalties[:, None])  # [G, R]
        first = inverse[:, :, None] * columns
        if not len(self.less):
            return first
        if _is_much(len(penalties), len(self.less), len(self.diagonal)):
            return self._decomposed(columns, penalties)
        narrowed = self.less * inverse[:, None]  # [G, M, R]
        system = torch.eye(len(self.less), dtype=inverse.dtype, device=inverse.device) - narrowed @ self.less.T
        # Positive definite, so by Cholesky: LU of a batch with two threads of MKL complains of DLASWP and never returns
        # from 250 rows on (torch 2.15, a Xeon with AMX).
        root, failed = torch.linalg.cholesky_ex(system.double())
        if bool(failed.any()):  # of two examples a class nothing but rounding is left of what most axes hold
            return self._decomposed(columns, penalties)
        inner = torch.cholesky_solve((self.less @ first).double(), root).to(first.dtype)  # [G, M, K]
        return first + narrowed.mT @ inner

    def _decomposed(self, columns: torch.Tensor, penalties: torch.Tensor) -> torch.Tensor:
        """The same where so much is left out that one decomposition of S is cheaper than a system for each λ."""
        values, vectors = torch.linalg.eigh(torch.diag(self.diagonal) - self.less.T @ self.less)
        shrunk = 1 / (values.clamp_min(0) + penalties[:, None])
        return vectors @ (shrunk[:, :, None] * (vectors.T @ columns))


def _is_much(penalties: int, less: float, rank: int) -> bool:
    """Whether so much is left out that one decomposition is cheaper than a system for each λ."""
    return penalties * less**2 > 5 * rank**2


def work(penalties: int, less: float, rank: int, columns: int) -> float:
    """About how many floating-point operations `Scatter.solve` takes, of λ [G], less [M, R] and columns [R, K]."""
    if not _is_much(penalties, less, rank):
        return penalties * less**2 * (2 * rank + less)
    return 2 * rank**2 * (less + EIGENVALUES * rank + 2 * penalties * columns)


def around(inputs: Inputs, kind: Kind, weights: torch.Tensor) -> tuple[Eigenbasis, Scatter, torch.Tensor]:
    """The axes of some examples, their scatter around means, and the means [P, R].

    `weights` f32 [N, P] says how much of each mean an example is; an indicator of classes gives class means.
    """
    exact = inputs.pool < ROUGH_FROM
    axes, others, count = inputs.eigenbasis(kind, exact), inputs.others(kind, exact), inputs.pool
    totals = weights.sum(dim=0)[:, None]
    means = weights.T @ axes.rotated / totals
    return axes, Scatter(axes.variances * count, torch.cat([others, means * totals.sqrt()])), means


def left_out(
    centred: torch.Tensor, scatter: Scatter, penalty: torch.Tensor, errors: torch.Tensor, groups: torch.Tensor
) -> torch.Tensor:
    """What a penalised least-squares fit with an intercept would err by without the group of each row, [N, K].

    From errors [N, K] of the one fit to all rows Z, centred [N, R], with λ [1]: of a group they are (I − H)⁻¹ of what
    they were, where H is its block of 1/N + Z(S + λI)⁻¹Zᵀ (Allen's PRESS, 1974, of whole groups); groups are i64 [N].
    """
    count = len(centred)
    solved = scatter.solve(centred.T, penalty)[0].T  # [N, R]
    leverage = 1 / count + (centred * solved).sum(dim=1)
    found = errors / (1 - leverage).clamp_min(LEAST)[:, None]
    for rows in _of_one_size(groups):
        hat = 1 / count + (centred[rows] @ solved[rows].mT)  # [B, S, S]
        # By eigenvalues, for rounding may make a system of many copies indefinite: Cholesky would refuse it.
        left, axes = torch.linalg.eigh(torch.eye(rows.shape[1], device=hat.device, dtype=torch.float64) - hat.double())
        along = axes.mT @ errors[rows].double() / left.clamp_min(LEAST)[:, :, None]
        found[rows] = (axes @ along).to(found.dtype)
    return found


def _of_one_size(groups: torch.Tensor) -> list[torch.Tensor]:
    """Rows i64 [B, S] of the B groups of each size S above one."""
    _, numbers, sizes = groups.unique(return_inverse=True, return_counts=True)
    order, size = numbers.argsort(stable=True), sizes[numbers]
    return [order[size[order] == s].reshape(-1, s) for s in sizes.unique().tolist() if s > 1]


def spread(logits: torch.Tensor) -> torch.Tensor:
    """The factor [G] that gives logits [G, N, K] a common spread: least squares and densities have no natural one."""
    return LOGIT_SPREAD / logits.std(dim=2).mean(dim=1).clamp_min(1e-12)
