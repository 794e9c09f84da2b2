"""How much of its disk a worker gives to deep rounds, where somebody has bounded it, and how much of its memory."""

import errno
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from adapters.errors import TooMuchData
from adapters.store import leases
from adapters.training import programs
from adapters.training.context import TrainingContext
from adapters.training_memory import STEP


def is_in_the_way(context: TrainingContext, left: Path, job_id: str) -> bool:
    """Whether another job left something here, of bounded room, and nobody is at work on it: it can be made again."""
    if context.scratch_bytes is None or left.name == job_id:
        return False
    return not leases.is_held(context.engine, left.name)


def memory(context: TrainingContext) -> float:
    """Bytes that fits may take, where they are made: of an accelerator all, as what others hold may be let go of."""
    if programs.device().type == "cpu":
        return context.memory()
    _, whole = torch.cuda.mem_get_info()
    return float(whole)


@contextmanager
def room(context: TrainingContext, job_id: str) -> Iterator[float]:
    """Bytes for a job: all but what those have here that another worker is at work on.

    Raises OSError (ENOSPC), after which a job is tried again, for TooMuchData where they are what is in the way; not of
    memory, which no wait for them makes.
    """
    if context.scratch_bytes is None:
        yield math.inf
        return
    taken = sum(_size(left) for left in context.folder.glob("job_*") if left.name != job_id)
    try:
        yield max(0, context.scratch_bytes - taken)
    except TooMuchData as error:
        if taken and error.item != STEP:
            raise OSError(errno.ENOSPC, error.message, str(context.folder)) from None
        raise


def _size(left: Path) -> int:
    return sum(file.stat().st_size for file in left.rglob("*") if file.is_file())
