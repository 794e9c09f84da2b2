"""How an image becomes a backbone's input."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]  # [N, H, W, 3] RGB, or [H, W, 3] for one image


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Shorter side to size / crop_pct, then a centre crop of size × size."""

    size: int  # pixels a side
    crop_pct: float
    interpolation: Literal["bilinear", "bicubic", "lanczos", "nearest"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
