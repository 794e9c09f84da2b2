"""Pools to a number of cells that does not divide their input's, which the exporter does not know: as slices and means.

VGG ends in one, of 7 × 7 cells: exported for any size but its own it would be refused.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def written_out() -> Any:
    """A context in which torch pools so; what it computes is the same."""
    import torch
    from torch.overrides import TorchFunctionMode

    class WrittenOut(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            named = kwargs or {}
            uneven = function is torch.nn.functional.adaptive_avg_pool2d and _is_uneven(*args, **named)
            return _pooled(*args, **named) if uneven else function(*args, **named)

    return WrittenOut()


def _cells(cells: Any) -> tuple[int, int]:
    rows, columns = (cells, cells) if isinstance(cells, int) else cells
    return int(rows), int(columns)


def _is_uneven(input: "torch.Tensor", output_size: Any) -> bool:
    if None in (output_size if isinstance(output_size, tuple | list) else [output_size]):
        return False  # as many as there are
    sides = [int(side) for side in input.shape[-2:]]
    return any(side % count for side, count in zip(sides, _cells(output_size), strict=True))


def _pooled(input: "torch.Tensor", output_size: Any) -> "torch.Tensor":
    found = input
    for axis, count in zip((2, 3), _cells(output_size), strict=True):
        found = _along(found, axis, count)
    return found


def _along(x: "torch.Tensor", axis: int, count: int) -> "torch.Tensor":
    """Cell i is the mean from i·side/count, rounded down, to (i + 1)·side/count, rounded up."""
    import torch

    side = int(x.shape[axis])
    ends = [(cell * side // count, -(-(cell + 1) * side // count)) for cell in range(count)]
    return torch.cat([x.narrow(axis, begin, end - begin).mean(axis, keepdim=True) for begin, end in ends], axis)
