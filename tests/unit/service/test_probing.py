"""Before a job is accepted, every image has been looked at, and as many as the work allows have been decoded."""

import io

import numpy as np
from PIL import Image

from adapters.errors import ImageTooLarge, InvalidImage
from adapters.types import Example
from service.intake.datasets import probing
from service.intake.datasets.items import Item


def encoded(format: str, side: int = 64) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    Image.fromarray(noise).save(file, format)
    return file.getvalue()


PHOTO = encoded("PNG", 8)
HALF = encoded("JPEG")[:1000] + b"\xff\xd9"  # closed with an end mark, as uploaders do


def items(*contents: bytes) -> list[Item]:
    return [Item(Example("", "cat", f"cat/{n}.jpg"), lambda data=data: data) for n, data in enumerate(contents)]


def test_probing_names_every_bad_image() -> None:
    assert not list(probing.unusable(items(PHOTO, PHOTO)))
    [(index, error)] = probing.unusable(items(PHOTO, b"text"))
    assert index == 1 and isinstance(error, InvalidImage) and error.item == "image 1 (cat/1.jpg)"
    assert error.message.startswith("image 1 (cat/1.jpg): not an image: it is text")
    bad = list(probing.unusable(items(encoded("PNG", 1), PHOTO, PHOTO[:-30])))
    assert [index for index, _ in bad] == [0, 2] and "too small" in bad[0][1].message
    [(_, large)] = probing.unusable(items(PHOTO), most=63)
    assert isinstance(large, ImageTooLarge) and "too large: 8×8" in large.message
    assert len(list(probing.unusable(items(*[b"text"] * 50)))) == 50


def test_damage_behind_a_sound_header_and_end_is_found() -> None:
    sound = encoded("GIF", 200)
    cut = sound[: len(sound) // 2] + b"\x00;"
    found = dict(probing.unusable(items(PHOTO, HALF, cut)))
    assert list(found) == [1, 2] and all(isinstance(error, InvalidImage) for error in found.values())


def test_beyond_the_work_only_header_and_end_are_looked_at() -> None:
    left = len(PHOTO) + 64
    assert [index for index, _ in probing.unusable(items(PHOTO, HALF, b"text", HALF), work=left)] == [2]
    assert [index for index, _ in probing.unusable(items(PHOTO, HALF, b"text", HALF), work=left + 1)] == [1, 2]
