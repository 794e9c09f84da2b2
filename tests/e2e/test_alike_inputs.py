"""How alike the same picture is to itself once it was saved again, which decides what counts as one sample.

Figures of docs/guides/drift.md: `python -m pytest -m slow -s tests/e2e/test_alike_inputs.py`.
"""

import io

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from support.pictures import SHAPES, encoded, shape

from adapters.sampling.selection import ALIKE, unit


def embeddings(server, images: list[bytes]) -> np.ndarray:
    parts = (images[start : start + 20] for start in range(0, len(images), 20))
    found = [one for part in parts for one in server.client.embed(part)["embeddings"]]
    return unit(np.array(found, np.float32))


def photos() -> list[Image.Image]:
    from sklearn.datasets import load_sample_images

    whole = [Image.fromarray(image) for image in load_sample_images().images]
    corners = [(x, y) for x in range(0, 440, 110) for y in range(0, 220, 110)]
    return [image.crop((x, y, x + 200, y + 200)) for image in whole for x, y in corners]


def drawings() -> list[Image.Image]:
    return [Image.open(io.BytesIO(shape(kind, n))).convert("RGB") for n in range(10) for kind in SHAPES]


def jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=90)
    return file.getvalue()


def smaller(image: Image.Image) -> bytes:
    return encoded(image.resize((image.width * 3 // 4, image.height * 3 // 4), Image.Resampling.BICUBIC))


def brighter(image: Image.Image) -> bytes:
    return encoded(ImageEnhance.Brightness(image).enhance(1.1))


@pytest.mark.slow
@pytest.mark.parametrize(("pictures", "least"), [(photos, 0.75), (drawings, 0.1)])
def test_a_picture_saved_again_is_mostly_found_and_others_seldom(server, pictures, least):
    images = pictures()
    x = embeddings(server, [encoded(image) for image in images])
    others = (x @ x.T)[np.triu_indices(len(x), 1)] >= ALIKE
    print(f"{pictures.__name__}: {len(x)}, other pairs that count as one {others.mean():.3f}")
    assert others.mean() < 0.05
    for change in (jpeg, smaller, brighter):
        same = (embeddings(server, [change(image) for image in images]) * x).sum(axis=1) >= ALIKE
        print(f"  {change.__name__}: found {same.mean():.2f}")
        assert same.mean() >= least
