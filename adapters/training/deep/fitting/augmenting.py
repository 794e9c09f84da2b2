"""What examples are trained on besides themselves, as the hyperparameter `augment` has it; all is drawn from the seed.

Pixels are varied anew for each batch. What is trained behind a cut has taps of a few views of each example, made before
the first step, and a step draws one of them: made anew they would cost a pass of the trunk an epoch, and five of each
cost less from six epochs on.
"""

import math
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from adapters.recipe import Hyperparameters, crops, rand_augment
from adapters.training.deep.fitting import randaugment
from adapters.training.deep.taps import SERVED, Vary
from adapters.types import Tensors

FLIPPED = "flip"  # a view
VARIED = 4  # views of each example besides the one that is served, where they are drawn
AREA, RATIO = (0.35, 1.0), (3 / 4, 4 / 3)  # of random resized crops: the area that is left, width over height


def cached(recipe: Hyperparameters, kind: str) -> tuple[str, ...]:
    """The views whose taps are made before a fit, of a cut of that kind; the first is what is served."""
    if kind == "input":
        return (SERVED,)
    if crops(recipe.augment):
        return (SERVED, *(f"{recipe.augment} {number}" for number in range(VARIED)))
    return (SERVED, FLIPPED) if recipe.augment == "flip" else (SERVED,)


def of_each(recipe: Hyperparameters, seed: int) -> Vary:
    """How a view of an example comes about, by the example's position and the view's number; the same for a seed."""
    return partial(_view, recipe.augment, seed)


def _view(augment: str, seed: int, tensors: Tensors, position: int, number: int) -> Tensors:
    if not crops(augment):
        return {name: np.ascontiguousarray(pixels[:, ::-1]) for name, pixels in tensors.items()}
    random = np.random.default_rng((seed, 4, position, number))
    return {name: _one(pixels, augment, random) for name, pixels in tensors.items()}


def _one(pixels: NDArray[np.uint8], augment: str, random: np.random.Generator) -> NDArray[np.uint8]:
    found: NDArray[np.uint8] = varied(torch.tensor(pixels)[np.newaxis], augment, random)[0].numpy()
    return found


def varied(pixels: torch.Tensor, augment: str, random: np.random.Generator) -> torch.Tensor:
    """u8 [M, S, S, C], each in a way of its own → the same shape."""
    cropped = crops(augment)
    if cropped or augment == "flip":
        pixels = _seen(pixels, cropped, random)
    asked = rand_augment(augment)
    return randaugment.applied(pixels, *asked, random) if asked else pixels


def _seen(pixels: torch.Tensor, crop: bool, random: np.random.Generator) -> torch.Tensor:
    """u8 [M, S, S, C] mirrored half of the time, and of random resized crops: one bilinear sampling for both."""
    mirrored = random.random(len(pixels)) < 0.5
    if not crop:
        chosen = torch.from_numpy(mirrored)[:, None, None, None]
        return torch.where(chosen, pixels.flip(2), pixels)
    grid = functional.affine_grid(_crops(len(pixels), mirrored, random), _size(pixels), False)
    sampled = functional.grid_sample(pixels.permute(0, 3, 1, 2).float(), grid, "bilinear", "border", False)
    return sampled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _size(pixels: torch.Tensor) -> list[int]:
    """[M, C, S, S]."""
    return [len(pixels), pixels.shape[3], *pixels.shape[1:3]]


def _crops(count: int, mirrored: NDArray[np.bool_], random: np.random.Generator) -> torch.Tensor:
    """Where each crop lies, [M, 2, 3], in units of half a side (Szegedy et al. 2015, as torchvision draws them)."""
    area, ratio = random.uniform(*AREA, count), np.exp(random.uniform(math.log(RATIO[0]), math.log(RATIO[1]), count))
    width, height = np.minimum(np.sqrt(area * ratio), 1.0), np.minimum(np.sqrt(area / ratio), 1.0)
    across, down = (random.uniform(-1, 1, count) * (1 - length) for length in (width, height))
    theta = np.zeros((count, 2, 3), np.float32)
    theta[:, 0, 0], theta[:, 1, 1] = np.where(mirrored, -width, width), height
    theta[:, 0, 2], theta[:, 1, 2] = across, down
    return torch.from_numpy(theta)
