"""The inputs of a fit: forms of embeddings, each made once however many fits share it.

A race fits dozens of heads on overlapping parts of one set of embeddings. Normalising, standardising and above all the
eigenbasis depend on no label, so they are made once for all folds: an eigendecomposition a fold was half of a race.
"""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch

from adapters.types import Affine, L2Normalize, Power, Step

Made = TypeVar("Made")
Kind = Literal["plain", "normalized", "power"]

EPSILON = 1e-12
SPREAD_FLOOR = 0.1  # of the median: a feature that hardly varies among few examples is not blown up
RANK_FLOOR, ROUGH_FLOOR = 1e-9, 1e-6  # of the largest eigenvalue
CHUNK = 8192  # rows at a time, where a copy of all would be too much


@dataclass(frozen=True, slots=True)
class Standardized:
    """Inputs of mean zero and unit variance, and the steps that lead to them from an embedding."""

    steps: tuple[Step, ...]
    x: torch.Tensor  # f32 [N, D]
    shift: torch.Tensor  # f32 [D]
    scale: torch.Tensor  # f32 [D]


@dataclass(frozen=True, slots=True)
class Eigenbasis:
    """Principal axes of standardised inputs; their span is all that a penalised linear fit on them can use."""

    rotated: torch.Tensor  # f32 [N, R], the inputs in it
    variances: torch.Tensor  # f32 [R], of what the basis was made from
    factors: tuple[torch.Tensor, ...]  # their product is the basis [D, R]

    def back(self, weights: torch.Tensor) -> torch.Tensor:
        """Weights [G, K, R] on the axes → weights [G, D, K] on the inputs."""
        columns = weights.flatten(0, 1).T  # [R, G·K]: a product with a few columns is cheaper than making the basis
        for factor in reversed(self.factors):
            columns = factor @ columns
        return columns.T.unflatten(0, weights.shape[:2]).mT


class Inputs:
    """Embeddings f32 [N, D] on the device, and forms of them, made once, when first asked for; safe for threads.

    An example may have several rows, `each` of them: first a row of every example, then the second of every example in
    the same order, and so on.
    """

    def __init__(self, embeddings: torch.Tensor, each: int = 1) -> None:
        self.embeddings, self.each = embeddings, each
        self._parent: Inputs | None = None
        self._rows: torch.Tensor | None = None
        self._made: dict[Any, Any] = {}
        self._making: dict[Any, threading.Lock] = {}  # one a form: two are made side by side
        self._asking = threading.Lock()

    def __len__(self) -> int:
        return len(self.embeddings)

    def part(self, rows: torch.Tensor) -> "Inputs":
        """Some of the examples, by their rows i64 [M], in forms that were made from all of them."""
        part = Inputs(self.embeddings[rows], self.each)
        part._parent, part._rows = self, rows
        return part

    @property
    def pool(self) -> int:
        """How many examples the forms were made from."""
        return len(self if self._parent is None else self._parent)

    def others(self, kind: Kind, exact: bool) -> torch.Tensor:
        """The examples that forms were made from and that are not among these, in their principal axes, f32 [M, R]."""
        whole = self if self._parent is None else self._parent
        left = torch.ones(len(whole), dtype=torch.bool, device=self.embeddings.device)
        left[slice(None) if self._rows is None else self._rows] = False
        return whole.eigenbasis(kind, exact).rotated[left]

    def form(self, kind: Kind) -> tuple[tuple[Step, ...], torch.Tensor]:
        """The steps of a kind, and their outcome f32 [N, D]."""
        x = self.embeddings
        if kind == "normalized":
            return STEPS[kind], normalized(x)
        return STEPS[kind], x if kind == "plain" else self._once(kind, lambda: _powered(x))

    def standardized(self, kind: Kind) -> Standardized:
        """A form, shifted and scaled feature by feature."""
        return self._once(("standardized", kind), lambda: self._standardized(kind))

    def eigenbasis(self, kind: Kind, exact: bool) -> Eigenbasis:
        """A standardised form in its principal axes.

        `exact` works in float64, so that the basis is orthogonal to the last axis; float32 takes half the time and
        loses axes with less than a millionth of the first one's variance, which no comparison of candidates can tell.
        """
        return self._once(("eigenbasis", kind, exact), lambda: self._eigenbasis(kind, exact))

    def _once(self, key: Any, make: Callable[[], Made]) -> Made:
        """What `make` gives, made by the first who asks; who asks for the same meanwhile waits."""
        with self._asking:
            making = self._making.setdefault(key, threading.Lock())
        with making:
            if key not in self._made:
                self._made[key] = make()
        made: Made = self._made[key]
        return made

    def _standardized(self, kind: Kind) -> Standardized:
        if self._parent is not None:
            whole = self._parent.standardized(kind)
            return Standardized(whole.steps, whole.x[self._rows], whole.shift, whole.scale)
        steps, x = self.form(kind)
        shift, scale = _standardizer(x)
        return Standardized((*steps, Affine(numpy(shift), numpy(scale))), (x - shift) * scale, shift, scale)

    def _eigenbasis(self, kind: Kind, exact: bool) -> Eigenbasis:
        if self._parent is None:
            return _eigenbasis(self.standardized(kind).x, exact)
        whole = self._parent.eigenbasis(kind, exact)
        return Eigenbasis(whole.rotated[self._rows], whole.variances, whole.factors)


class InPlace(Inputs):
    """The same in the memory of one: each form takes the place of what it was made from, and of the rows given.

    For one fit to very many rows, which asks for forms of one kind, each from the last.
    """

    def form(self, kind: Kind) -> tuple[tuple[Step, ...], torch.Tensor]:
        """As of all inputs."""
        return STEPS[kind], self._once(kind, lambda: self._changed(_CHANGES[kind]))

    def _standardized(self, kind: Kind) -> Standardized:
        steps, x = self.form(kind)
        shift, scale = _standardizer(x)
        steps = (*steps, Affine(numpy(shift), numpy(scale)))
        return Standardized(steps, self._changed(lambda rows: rows.sub_(shift).mul_(scale)), shift, scale)

    def _eigenbasis(self, kind: Kind, exact: bool) -> Eigenbasis:
        x = self.standardized(kind).x
        if x.shape[0] < x.shape[1]:
            return _eigenbasis(x, exact)
        of = torch.float64 if exact else x.dtype
        values, vectors = _axes(sum(part.T @ part for part in _parts(x, of)), exact)
        rotated = self._changed(lambda rows: rows[:, : len(values)].copy_(rows.to(of) @ vectors))[:, : len(values)]
        return Eigenbasis(rotated, (values / len(x)).to(x.dtype), (vectors.to(x.dtype),))

    def _changed(self, change: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
        for rows in self.embeddings.split(CHUNK):
            change(rows)
        return self.embeddings


def _powered(x: torch.Tensor) -> torch.Tensor:
    return normalized(x.abs().sqrt_().copysign_(x))  # in place: new memory costs more than the sum


STEPS: dict[str, tuple[Step, ...]] = {
    "plain": (), "normalized": (L2Normalize(),), "power": (Power(0.5), L2Normalize()),
}  # fmt: skip
_CHANGES: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "plain": lambda rows: rows, "normalized": lambda rows: rows.copy_(normalized(rows)),
    "power": lambda rows: rows.copy_(_powered(rows)),
}  # fmt: skip


def _parts(x: torch.Tensor, of: torch.dtype) -> Iterator[torch.Tensor]:
    return (part.to(of) for part in x.split(CHUNK))


def normalized(x: torch.Tensor) -> torch.Tensor:
    """Rows of norm one, as the step L2Normalize makes them."""
    return x / x.norm(dim=1, keepdim=True).clamp_min(EPSILON)


def numpy(x: torch.Tensor) -> Any:
    """A tensor as a step of a HeadProgram keeps it: f32, on the CPU."""
    return x.float().cpu().contiguous().numpy()


def _standardizer(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Shift and scale [D]. A feature that never varies is switched off: nothing was learned of it."""
    shift = x.mean(dim=0)
    # `std` takes four times as long on a CPU.
    spread = (sum((part - shift).square_().sum(dim=0) for part in x.split(CHUNK)) / len(x)).sqrt()
    varies = spread > 1e-6 * shift.abs() + 1e-12
    typical = spread[varies].median() if bool(varies.any()) else spread.new_ones(())
    scale = torch.where(varies, 1 / spread.clamp_min(SPREAD_FLOOR * typical), torch.zeros_like(spread))
    return shift, scale


def _eigenbasis(x: torch.Tensor, exact: bool) -> Eigenbasis:
    wide, y = x.shape[0] < x.shape[1], x.double() if exact else x
    values, vectors = _axes(y @ y.T if wide else y.T @ y, exact)
    rotated = vectors * values.sqrt() if wide else y @ vectors
    factors = (y.T, vectors / values.sqrt()) if wide else (vectors,)
    parts = [part.to(x.dtype).contiguous() for part in (rotated, values / len(x), *factors)]
    return Eigenbasis(parts[0], parts[1], tuple(parts[2:]))


def _axes(products: torch.Tensor, exact: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Eigenvalues [R] and vectors [·, R], without the axes that rounding decides."""
    values, vectors = torch.linalg.eigh(products)
    keep = values > (RANK_FLOOR if exact else ROUGH_FLOOR) * values[-1].clamp_min(1e-30)
    return values[keep], vectors[:, keep]
