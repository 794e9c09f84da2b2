"""The same bits for a seed on one device: an accelerator is asked for kernels that add in a fixed order."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

# cuBLAS adds in a fixed order only with a workspace of this kind, for which it looks when it is first used (see torch's
# notes on reproducibility).
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


@contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """For as long as a fit runs. Nothing changes on a CPU, where parts of a batch are added in their order anyway.

    An operator that has no such kernel runs as it is, and torch warns of it: a fit that is not made is worse than one
    that differs in its last bits.
    """
    if device.type == "cpu":
        yield
        return
    cudnn = torch.backends.cudnn
    before = torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark
    torch.use_deterministic_algorithms(True, warn_only=True)
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        cudnn.deterministic, cudnn.benchmark = before[1:]
