"""Near-duplicates: copies are found, look-alikes are left apart."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageEnhance
from sklearn.datasets import load_digits

from adapters.modalities.image import alike
from adapters.modalities.image.tensors import thumbnail
from adapters.training.data.duplicates import groups

PHOTOS = Path(os.environ.get("ESPALIER_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "weather"
needs_photos = pytest.mark.skipif(not PHOTOS.is_dir(), reason=f"there are no photos in {PHOTOS}")


def embed(pixels: np.ndarray) -> np.ndarray:
    """A stand-in for a backbone: coarse colours, so that copies are alike and different photos are not."""
    small = np.asarray(Image.fromarray(pixels).resize((8, 8), Image.Resampling.BOX), np.float32).ravel()
    return small - small.mean()


def found(pictures: list[np.ndarray], **kwargs) -> np.ndarray:
    count = len(pictures)
    embeddings, thumbnails = np.stack([embed(p) for p in pictures]), np.stack([thumbnail(p) for p in pictures])
    sha256s = kwargs.get("sha256s") or [str(i) for i in range(count)]
    return groups(alike, embeddings, thumbnails, sha256s, kwargs.get("caller_groups") or [None] * count)


def noise(count: int) -> list[np.ndarray]:
    return list(np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))


def test_a_fingerprint_is_a_grey_thumbnail_of_areas():
    pixels = np.zeros((224, 100, 3), np.uint8)
    pixels[112:] = 200
    grey = thumbnail(pixels).reshape(16, 16)
    assert grey.dtype == np.uint8 and (grey[:8] == 0).all() and (grey[8:] == 200).all()


def test_a_small_picture_has_a_fingerprint_too():
    assert thumbnail(np.full((16, 17, 3), 7, np.uint8)).tolist() == [7] * 256


def test_different_pictures_stay_apart():
    assert found(noise(30)).tolist() == list(range(30))


def test_identical_bytes_and_caller_groups_are_joined():
    assert found(noise(5), sha256s=list("abcab")).tolist() == [0, 1, 2, 0, 1]
    assert found(noise(5), caller_groups=[None, "x", None, "x", None]).tolist() == [0, 1, 2, 1, 4]


def test_a_copy_of_a_copy_is_in_the_same_group():
    pictures = noise(4)
    brighter = (pictures[1] * 0.9).astype(np.uint8)
    assert found([*pictures, brighter], caller_groups=[None, None, None, "x", "x"]).tolist() == [0, 1, 2, 1, 1]


def test_blank_pictures_are_like_nothing():
    assert len(set(found([np.full((32, 32, 3), 9, np.uint8)] * 3))) == 3


@pytest.mark.parametrize("count", [0, 1, 2])
def test_hardly_any_pictures_are_no_problem(count):
    nothing = np.zeros((count, 4), np.float32), np.zeros((count, 256), np.uint8)
    assert groups(alike, *nothing, [str(i) for i in range(count)], [None] * count).tolist() == list(range(count))


def test_simple_drawings_are_not_chained_together():
    images = load_digits().images[:600]
    pictures = [np.kron((i * 15).astype(np.uint8), np.ones((8, 8), np.uint8))[..., None].repeat(3, 2) for i in images]
    assert np.bincount(found(pictures)).max() <= 6


@pytest.fixture(scope="module")
def photos() -> list[Image.Image]:
    return [Image.open(path).convert("RGB").resize((224, 224)) for path in sorted(PHOTOS.glob("*/*"))[::9]]


def encoded(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


CHANGES = {
    "re-encoded": lambda i: encoded(i, 40),
    "halved": lambda i: i.resize((112, 112)).resize((224, 224)),
    "brighter": lambda i: ImageEnhance.Brightness(i).enhance(1.1),
    "darker": lambda i: ImageEnhance.Brightness(i).enhance(0.9),
    "cropped by 5 %": lambda i: i.crop((3, 8, 216, 221)).resize((224, 224)),
}


@pytest.mark.data
@needs_photos
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_changed_copies_of_photos_are_found(photos, change):
    some = photos[:60]
    pictures = [np.asarray(p) for p in (*photos, *map(change, some))]
    numbers = found(pictures)
    assert (numbers[: len(some)] == numbers[len(photos) :]).mean() >= 0.93


def test_blocks_change_nothing(monkeypatch):
    """What is compared at a time is bounded by memory, and must not show."""
    random = np.random.default_rng(0)
    copies = [np.clip(p + random.normal(0, 3, p.shape), 0, 255).astype(np.uint8) for p in noise(12)]
    pictures = [*noise(12), *copies]
    wanted = found(pictures)
    monkeypatch.setattr(alike, "BLOCK", 5)
    monkeypatch.setattr(alike, "LEAST_BLOCK", 2)
    monkeypatch.setattr(alike, "MOST_ALIKE", 1)
    np.testing.assert_array_equal(found(pictures), wanted)
    assert len(set(wanted.tolist())) < len(pictures)
