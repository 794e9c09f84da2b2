"""What is looked at of an upright picture: the centre, as served, or other places, to train on."""

import numpy as np
from PIL import Image

from adapters.modalities.image.spec import Pixels, Preprocessing

CORNERS = {"top-left": (0.0, 0.0), "top-right": (1.0, 0.0), "bottom-left": (0.0, 1.0), "bottom-right": (1.0, 1.0)}
CORNER_SIDE = 0.75  # of the shorter side: closer than what is served, and each sees what the others do not
FLIP = "flip"  # what is served, mirrored left to right
VIEWS = {"all": (*CORNERS, FLIP), "crops": tuple(CORNERS), "flip": (FLIP,)}  # choices: see adapters/modalities
_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def centre(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """uint8 [size, size, C]: what is served."""
    return _resized(image, preprocessing, crop_box(image.width, image.height, preprocessing.crop_pct))


def view(image: Image.Image, preprocessing: Preprocessing, name: str) -> Pixels:
    """uint8 [size, size, C] of that name; any other name than a view's is the centre."""
    if name in CORNERS:
        return _resized(image, preprocessing, _corner_box(image.width, image.height, *CORNERS[name]))
    seen = centre(image, preprocessing)
    return np.ascontiguousarray(seen[:, ::-1]) if name == FLIP else seen


def _resized(image: Image.Image, preprocessing: Preprocessing, box: tuple[float, float, float, float]) -> Pixels:
    side, mode = preprocessing.size, preprocessing.mode
    shown = image if image.mode == mode else image.convert(mode)
    pixels = np.asarray(shown.resize((side, side), _RESAMPLE[preprocessing.interpolation], box=box))
    return pixels if pixels.ndim == 3 else pixels[:, :, np.newaxis]


def _corner_box(width: int, height: int, right: float, down: float) -> tuple[float, float, float, float]:
    """A square in source pixels; 0 and 1 are the ends of each axis."""
    side = min(width, height) * CORNER_SIDE
    left, top = (width - side) * right, (height - side) * down
    return left, top, left + side, top + side


def crop_box(width: int, height: int, crop_pct: float) -> tuple[float, float, float, float]:
    """The centre crop in source pixels: cropping before resizing is the same picture for less work."""
    side = min(width, height) * crop_pct
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side
