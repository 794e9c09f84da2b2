"""A device that is not the CPU, where there is none: its tensors compute as the CPU does, and refuse others.

What torch does on a GPU: an operation of tensors on two devices is an error, but of single numbers and of copies.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

DEVICE = torch.device("meta")  # any that every build of torch knows
_aten = torch.ops.aten
_COPIES = (_aten.copy_.default, _aten._to_copy.default)


class Elsewhere(torch.Tensor):
    """Numbers that are kept on the CPU and said to be on DEVICE."""

    @staticmethod
    def __new__(cls, kept: torch.Tensor) -> "Elsewhere":
        return torch.Tensor._make_wrapper_subclass(
            cls, kept.size(), kept.stride(), kept.storage_offset(), dtype=kept.dtype, device=DEVICE
        )

    def __init__(self, kept: torch.Tensor) -> None:
        self.kept = kept

    @classmethod
    def __torch_dispatch__(cls, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        wanted = kwargs.pop("device", None)
        if function not in _COPIES:
            _refuse_others(function, args)
        made = function(*tree_map(_kept, args), **tree_map(_kept, kwargs))
        if args and made is getattr(args[0], "kept", None):  # in place
            return args[0]
        there = wanted in (None, DEVICE) if function is not _aten.copy_.default else isinstance(args[0], cls)
        return tree_map(lambda each: cls(each) if there and isinstance(each, torch.Tensor) else each, made)


class _Moves(TorchDispatchMode):
    """`tensor.to(DEVICE)` of one on the CPU, and what is made there."""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("device") == DEVICE and not any(isinstance(each, Elsewhere) for each in args):
            return Elsewhere(function(*args, **kwargs | {"device": torch.device("cpu")}))
        return function(*args, **kwargs)


@contextmanager
def elsewhere() -> Iterator[torch.device]:
    """Within, in this thread, DEVICE is such a device."""
    with _Moves():
        yield DEVICE


def _kept(value: Any) -> Any:
    return value.kept if isinstance(value, Elsewhere) else value


def _refuse_others(function: Any, args: Any) -> None:
    flat = [each for arg in args for each in (arg if isinstance(arg, list | tuple) else [arg])]
    if any(isinstance(each, torch.Tensor) and not isinstance(each, Elsewhere) and each.ndim for each in flat):
        raise RuntimeError(f"Expected all tensors to be on the same device: {function}")
