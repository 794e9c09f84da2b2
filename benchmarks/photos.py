"""Photos to measure with, made from scikit-learn's two sample photos so that everybody has them."""

import io

import numpy as np
from PIL import Image


def crops(count: int, classes: int = 10, width: int = 640, height: int = 427, seed: int = 0) -> list[tuple[bytes, str]]:
    """`count` different JPEGs (quality 90) of a size, in classes that a head can learn: place and tint of the crop."""
    from sklearn.datasets import load_sample_images

    sources = [Image.fromarray(picture) for picture in load_sample_images().images]
    generator = np.random.default_rng(seed)
    return [
        (_crop(sources, i % classes, classes, width, height, generator), f"class-{i % classes}") for i in range(count)
    ]


def _crop(
    sources: list[Image.Image], number: int, classes: int, width: int, height: int, generator: np.random.Generator
) -> bytes:
    source = sources[number % len(sources)]
    share = 0.5 + 0.2 * generator.random()
    crop_width, crop_height = source.width * share, source.height * share
    left = (source.width - crop_width) * (number / max(classes - 1, 1)) * generator.uniform(0.8, 1.0)
    top = (source.height - crop_height) * generator.random()
    crop = source.resize(
        (width, height), Image.Resampling.BICUBIC, box=(left, top, left + crop_width, top + crop_height)
    )
    tint = 1 + 0.15 * np.sin(np.array([number, number * 2.1, number * 3.3])) + generator.normal(0, 0.05, 3)
    pixels = (np.asarray(crop) * tint).clip(0, 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def distinct(pictures: list[bytes], count: int) -> list[bytes]:
    """So many files of the same pictures: decoders pass over what comes after the end of one."""
    return [pictures[n % len(pictures)] + n.to_bytes(4, "big") for n in range(count)]
