"""How an image becomes a backbone's input."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]  # [N, H, W, C], of RGB unless said otherwise, or [H, W, C] for one image
MODES = {
    1: "L",
    3: "RGB",
    4: "RGBA",
}  # channels that a backbone may read, as Pillow names them: grey; colours; and alpha


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """Shorter side to size / crop_pct, then a centre crop of size × size; channels are as many as means."""

    size: int  # pixels a side
    crop_pct: float
    interpolation: Literal["bilinear", "bicubic", "lanczos", "nearest"]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        """1, 3 or 4."""
        return len(self.mean)

    @property
    def mode(self) -> str:
        """What images are made before they are read: L, RGB or RGBA."""
        return MODES[len(self.mean)]
