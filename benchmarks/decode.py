"""JPEG bytes → 224 × 224 pixels: our modality against Pillow alone, by size of the photo."""

import io
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from adapters.modalities import image
from adapters.types import Preprocessing
from benchmarks import photos, record

SIZES = {"small (224×224)": (224, 224), "medium (640×427)": (640, 427), "large (4000×3000)": (4000, 3000)}
REPETITIONS = 7
SHAPE = Preprocessing(224, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)  # type: ignore[arg-type]


def with_pillow(data: bytes) -> Any:
    """The plain way: decode in full, resize, crop."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    box = image._crop_box(picture.width, picture.height, SHAPE.crop_pct)
    return np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC, box=box))


def main() -> dict[str, Any]:
    """Measure and print; returns the results."""
    results: dict[str, Any] = {}
    for name, (width, height) in SIZES.items():
        pictures = [data for data, _ in photos.crops(4, width=width, height=height)]
        pairs = [(_ms(image_decode, pictures), _ms(with_pillow, pictures)) for _ in range(REPETITIONS)]
        results[name] = {
            "espalier_ms": record.spread([ours for ours, _ in pairs]),
            "pillow_ms": record.spread([theirs for _, theirs in pairs]),
            "ratio": record.spread([ours / theirs for ours, theirs in pairs]),
        }
        print(f"  {name:20} {results[name]['ratio']}")
    return results


def image_decode(data: bytes) -> Any:
    """The way that training and serving share."""
    return image.decode(data, SHAPE)


def _ms(decode: Callable[[bytes], Any], pictures: list[bytes]) -> float:
    rounds = max(1, 100 // len(pictures)) if len(pictures[0]) < 500_000 else 2
    began = time.perf_counter()
    for _ in range(rounds):
        for data in pictures:
            decode(data)
    return (time.perf_counter() - began) / (rounds * len(pictures)) * 1e3


if __name__ == "__main__":
    record.save("decode", main())
