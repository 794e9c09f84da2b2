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
            if function is torch.nn.functional.adaptive_avg_pool2d and _is_uneven(*args):
                return _pooled(*args)
            return function(*args, **(kwargs or {}))

    return WrittenOut()


def _cells(cells: Any) -> tuple[int, int]:
    rows, columns = (cells, cells) if isinstance(cells, int) else cells
    return int(rows), int(columns)


def _is_uneven(x: "torch.Tensor", cells: Any) -> bool:
    sides = [int(side) for side in x.shape[-2:]]
    return None not in (cells if isinstance(cells, tuple | list) else [cells]) and any(
        side % cell for side, cell in zip(sides, _cells(cells), strict=True)
    )


def _pooled(x: "torch.Tensor", cells: Any) -> "torch.Tensor":
    for axis, count in zip((2, 3), _cells(cells), strict=True):
        x = _along(x, axis, count)
    return x


def _along(x: "torch.Tensor", axis: int, count: int) -> "torch.Tensor":
    """Cell i is the mean from i·side/count, rounded down, to (i + 1)·side/count, rounded up."""
    import torch

    side = int(x.shape[axis])
    ends = [(cell * side // count, -(-(cell + 1) * side // count)) for cell in range(count)]
    return torch.cat([x.narrow(axis, begin, end - begin).mean(axis, keepdim=True) for begin, end in ends], axis)
