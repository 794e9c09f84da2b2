"""RandAugment (Cubuk et al., NeurIPS 2020): torchvision's operations, drawn for each image by a fit's seed."""

import threading
from functools import cache
from typing import Any

import numpy as np
import torch

STEPS = 11  # magnitudes 0 to 10, of timm's scale: 10 turns by 30 degrees, shears by 0.3, shifts by 0.45 of a side
FILL = 128  # what comes in from outside
CHANNELS = (1, 3)  # that its colours are of
_DRAWING = threading.Lock()


def applied(pixels: torch.Tensor, magnitude: int, operations: int, random: np.random.Generator) -> torch.Tensor:
    """u8 [M, S, S, C] → the same, each image by operations of its own."""
    chosen = _transform(magnitude, operations)
    # torchvision draws from torch's one generator, which others go on with.
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(random.integers(2**62)))
        varied = [chosen(image) for image in pixels.permute(0, 3, 1, 2)]
    return torch.stack(varied).permute(0, 2, 3, 1).contiguous()


@cache
def _transform(magnitude: int, operations: int) -> Any:
    from torchvision.transforms import v2  # takes a while, and few fits ask for it

    bilinear = v2.InterpolationMode.BILINEAR
    return v2.RandAugment(operations, magnitude, STEPS, interpolation=bilinear, fill=FILL)
