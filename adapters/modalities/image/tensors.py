"""Pixels as what a backbone's graph reads: one tensor, uint8 [N, S, S, C]."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from adapters.modalities.image.spec import Pixels, Preprocessing
from adapters.types import Input, Tensors

NAME = "pixels"
SIDE = 16  # of a fingerprint


def inputs(spec: Preprocessing) -> tuple[Input, ...]:
    """The input tensors of a graph."""
    return (Input(NAME, "uint8", (spec.size, spec.size, spec.channels)),)


def collate(items: Sequence[Tensors], spec: Preprocessing, *, pad: bool = False) -> Tensors:
    """N of uint8 [S, S, C] → [N, S, S, C], without a copy where there is one, as in most requests.

    All have one shape, so that nothing is padded.
    """
    if len(items) == 1:
        return {NAME: items[0][NAME][np.newaxis]}
    return {NAME: np.stack([item[NAME] for item in items])}


def load(size: int) -> float:
    """Every image is the same work to a backbone, however many bytes it has."""
    return 1.0


def trial(spec: Preprocessing, count: int, seed: int = 0) -> list[Tensors]:
    """Smooth and rough pictures in turn: noise at several scales, the same for one seed."""
    generator, size, channels = np.random.default_rng(seed), spec.size, spec.channels
    coarse = generator.integers(0, 256, (count, size // 16 + 1, size // 16 + 1, channels), dtype=np.uint8)
    smooth = coarse.repeat(16, axis=1).repeat(16, axis=2)[:, :size, :size]
    rough = generator.integers(0, 256, (count, size, size, channels), dtype=np.uint8)
    mixed = np.where(np.arange(count).reshape(-1, 1, 1, 1) % 2 == 0, smooth, rough)
    return [{NAME: pixels} for pixels in mixed]


def fingerprint(tensors: Tensors, data: bytes | memoryview = b"") -> NDArray[np.uint8]:
    """A 16 × 16 grey thumbnail, uint8 [256], by averaging areas; the pixels alone decide."""
    return thumbnail(tensors[NAME])


def thumbnail(pixels: Pixels) -> NDArray[np.uint8]:
    """Pixels uint8 [H, W, C] → 16 × 16 grey ones, uint8 [256]; transparent ones as they are seen over white."""
    grey = _grey(pixels)
    for axis in (0, 1):
        edges = np.linspace(0, grey.shape[axis], SIDE + 1).astype(np.int64)
        counts = np.diff(edges).reshape((-1, 1) if axis == 0 else (1, -1))
        grey = np.add.reduceat(grey, edges[:-1], axis=axis) / counts
    return grey.round().clip(0, 255).astype(np.uint8).ravel()


def _grey(pixels: Pixels) -> NDArray[np.floating]:
    if pixels.shape[-1] == 1:
        return pixels[..., 0].astype(np.float32)
    grey: NDArray[np.floating] = pixels[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    return grey if pixels.shape[-1] == 3 else 255 + (grey - 255) * (pixels[..., 3] / np.float32(255))
