"""Images to calibrate a backbone's variant on, and others to measure it by: the user's own, or crops that we make."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from adapters.errors import InvalidInput, NotEnoughData
from adapters.modalities import image
from adapters.modalities.image import Pixels, Preprocessing

CALIBRATED, HELD_OUT = 200, 50  # images: 200 crops calibrate as well as real photos do
LEAST = 20  # images in a folder, so that four are held out
SHARE = 5  # one image in five is held out


@dataclass(frozen=True, slots=True)
class CalibrationImages:
    """Preprocessed pixels, uint8 [N, S, S, C] each; no image is in both."""

    calibrated: Pixels
    held_out: Pixels
    source: str  # where they come from, for the report


def crops(preprocessing: Preprocessing, seed: int = 0) -> CalibrationImages:
    """Augmented crops of scikit-learn's two sample photos, which everybody has. The same ones every time.

    Raises InvalidInput for a backbone that reads an alpha channel.
    """
    if preprocessing.mode == "RGBA":
        raise InvalidInput("the photos that come with us have no alpha channel; name a folder of images that have one")
    from sklearn.datasets import load_sample_images

    photos = [Image.fromarray(photo) for photo in load_sample_images().images]
    random = np.random.default_rng(seed)
    made = [_crop(photos[i % len(photos)], preprocessing, random) for i in range(CALIBRATED + HELD_OUT)]
    pixels = np.stack(made)
    return CalibrationImages(pixels[:CALIBRATED], pixels[CALIBRATED:], "crops of two sample photos of scikit-learn")


def folder(path: Path, preprocessing: Preprocessing, seed: int = 0) -> CalibrationImages:
    """Images of a folder and those below it, at most as many as `crops` makes; other files are passed over.

    Raises NotEnoughData for fewer than LEAST images.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file())
    pixels: list[Pixels] = []
    for position in np.random.default_rng(seed).permutation(len(files)):
        if len(pixels) == CALIBRATED + HELD_OUT:
            break
        try:
            pixels.append(image.pixels(files[position].read_bytes(), preprocessing))
        except InvalidInput:  # no image, or one that is too large
            continue
    if len(pixels) < LEAST:
        raise NotEnoughData(f"{path} has {len(pixels)} images to calibrate on; at least {LEAST} are needed")
    held_out = len(pixels) // SHARE
    return CalibrationImages(np.stack(pixels[held_out:]), np.stack(pixels[:held_out]), "the folder that was given")


def _crop(photo: Image.Image, preprocessing: Preprocessing, random: np.random.Generator) -> Pixels:
    """A square of any place and any size from a quarter of the photo's height up, mirrored, relit: [S, S, C]."""
    size, side = preprocessing.size, photo.height * random.uniform(0.25, 1.0)
    left, top = random.uniform(0, photo.width - side), random.uniform(0, photo.height - side)
    crop = photo.resize((size, size), Image.Resampling.BICUBIC, box=(left, top, left + side, top + side))
    pixels = np.asarray(crop, np.float64)[:, :: random.choice((-1, 1))]
    contrast, tint = random.uniform(0.6, 1.4), random.normal(1.0, 0.1, 3)
    relit = ((pixels - 128) * contrast + 128) * tint + random.normal(0, 20)
    made = relit.round().clip(0, 255).astype(np.uint8)
    return made if preprocessing.channels == 3 else np.asarray(Image.fromarray(made).convert("L"))[:, :, np.newaxis]
