"""A head program as a torch module, to be trained on: its linear steps are weights, all others stay as they are."""

from typing import Any

import numpy as np
import torch

from adapters.training.programs import EPSILON
from adapters.types import Affine, HeadProgram, L2Normalize, Linear, Power, Relu, Step

LEAST = 1e-4  # of |x| where a power's slope is taken: at zero that of a square root has no end


class Head(torch.nn.Module):
    """The steps of a program that end in raw outputs, pooled [N, D] → [N, K]; first it answers as the program does."""

    def __init__(self, program: HeadProgram) -> None:
        super().__init__()
        self._steps: list[Step] = list(program.steps)
        arrays = [array for step in self._steps for array in _weights(step)]
        self.weights = torch.nn.ParameterList(torch.nn.Parameter(_tensor(array)) for array in arrays)
        for number, step in enumerate(self._steps):
            if isinstance(step, Affine):
                self.register_buffer(f"shift{number}", _tensor(step.shift), persistent=False)
                self.register_buffer(f"scale{number}", _tensor(step.scale), persistent=False)

    def forward(self, x: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """`keep` [N, D'] scales what the last linear step reads: dropout, drawn by who calls."""
        weights, last = iter(self.weights), len(self.weights) // 2
        for number, step in enumerate(self._steps):
            if isinstance(step, Linear):
                last -= 1
                x = x * keep if keep is not None and last == 0 else x
                x = x @ next(weights) + next(weights)
            else:
                x = self._fixed(number, step, x)
        return x

    @property
    def width(self) -> int:
        """D', how many numbers the last linear step reads."""
        return len(self.weights[-2])

    def program(self) -> HeadProgram:
        """The steps with the weights as they are now."""
        arrays = iter([weight.detach().float().cpu().numpy().copy() for weight in self.weights])
        return HeadProgram(
            tuple(Linear(next(arrays), next(arrays)) if isinstance(step, Linear) else step for step in self._steps)
        )

    def _fixed(self, number: int, step: Step, x: torch.Tensor) -> torch.Tensor:
        if isinstance(step, Affine):
            return (x - getattr(self, f"shift{number}")) * getattr(self, f"scale{number}")
        if isinstance(step, Power):
            return _Power.apply(x, step.exponent)
        if isinstance(step, L2Normalize):
            return x / x.norm(dim=1, keepdim=True).clamp_min(EPSILON)
        if isinstance(step, Relu):
            return x.relu()
        raise TypeError(f"a head that is trained has no step {type(step).__name__}")


class _Power(torch.autograd.Function):
    """sign(x)·|x|^p, whose slope at zero, which has no end, is that at LEAST."""

    @staticmethod
    def forward(context: Any, x: torch.Tensor, exponent: float) -> torch.Tensor:
        context.save_for_backward(x)
        context.exponent = exponent
        return x.abs().pow(exponent).copysign(x)

    @staticmethod
    def backward(context: Any, slope: torch.Tensor) -> Any:
        (x,) = context.saved_tensors
        return slope * context.exponent * x.abs().clamp_min(LEAST).pow(context.exponent - 1), None


def _weights(step: Step) -> list[Any]:
    return [step.weight, step.bias] if isinstance(step, Linear) else []


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))
