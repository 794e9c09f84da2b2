"""What a step of a fit keeps in memory, from the tail's own graph: by passes of one and of two examples."""

import numpy as np
import torch

from adapters.training import programs
from adapters.training.deep.interpreter import Tail, as_input
from adapters.training_memory import DeepFit
from adapters.types import Cut


def of(tail: bytes, cut: Cut, batch: int, averaged: bool) -> DeepFit:
    """Of a fit to batches of so many examples. Raises InvalidInput as `Tail` does."""
    module = Tail(tail)
    weights = sum(weight.nbytes for weight in module.weights)
    each = _kept(module, cut, 2) - _kept(module, cut, 1)  # weights and constants are kept once, whatever the batch
    accelerated = programs.device().type == "cuda"  # there most of it is bfloat16, see `Network.raw`
    return DeepFit(weights, each // 2 if accelerated else each, batch, averaged, accelerated)


def _kept(module: Tail, cut: Cut, count: int) -> int:
    """Bytes that a pass of so many examples leaves for its gradients, those of weights among them."""
    kept: dict[int, torch.UntypedStorage] = {}  # by address, and held: no address is given away again

    def seen(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    tap = torch.from_numpy(np.zeros((count, *cut.shape), cut.dtype))
    with torch.autograd.graph.saved_tensors_hooks(seen, lambda tensor: tensor):
        module(as_input(tap))
    return sum(storage.nbytes() for storage in kept.values())
