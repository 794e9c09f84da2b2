"""Operators by which exporters make the mask of attention: positions, comparisons, and what is looked up by them."""

from functools import reduce
from typing import Any

import torch

from adapters.errors import InvalidInput

Attributes = dict[str, Any]


def _range(attributes: Attributes, start: torch.Tensor, limit: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    return torch.arange(start.item(), limit.item(), step.item(), dtype=start.dtype)


def _gather_nd(attributes: Attributes, x: torch.Tensor, index: torch.Tensor) -> torch.Tensor:
    """x at places, i64 [..., R], of its first R dimensions. Raises InvalidInput for places in each of several."""
    if attributes.get("batch_dims", 0):
        message = "this backbone has a GatherND that cannot be trained here: nothing is known of its 'batch_dims'"
        raise InvalidInput(message, item="GatherND")
    return x[tuple(index.to(x.device).unbind(-1))]


def _most(attributes: Attributes, *given: torch.Tensor) -> torch.Tensor:
    return reduce(torch.maximum, given)


def _least(attributes: Attributes, *given: torch.Tensor) -> torch.Tensor:
    return reduce(torch.minimum, given)


OPERATORS: dict[str, Any] = {
    "Range": _range, "GatherND": _gather_nd, "Max": _most, "Min": _least,
    "And": lambda attributes, a, b: torch.logical_and(a, b),
    "Or": lambda attributes, a, b: torch.logical_or(a, b),
    "Not": lambda attributes, a: torch.logical_not(a),
    "IsNaN": lambda attributes, x: x.isnan(),
    "Greater": lambda attributes, a, b: a > b,
    "GreaterOrEqual": lambda attributes, a, b: a >= b,
    "Less": lambda attributes, a, b: a < b,
    "LessOrEqual": lambda attributes, a, b: a <= b,
}  # fmt: skip
