"""A JPEG's pixels are read where the decoder wrote them, or copied where Pillow does not offer that: the same image."""

import gc

import numpy as np
import pytest
from PIL import Image

from adapters.modalities.image import mapped

PIXELS = np.random.default_rng(0).integers(0, 256, (37, 53, 4), dtype=np.uint8)


@pytest.mark.parametrize("offered", [True, False], ids=["mapped", "copied"])
def test_it_is_the_image_of_the_first_three_channels(monkeypatch, offered):
    if not offered:
        monkeypatch.delattr(Image.core, "map_buffer")
    image = mapped.picture(PIXELS)
    assert (image.mode, image.size) == ("RGB", (53, 37))
    np.testing.assert_array_equal(np.asarray(image), PIXELS[:, :, :3])
    wanted = Image.fromarray(PIXELS[:, :, :3]).resize((16, 16), Image.Resampling.BICUBIC, box=(1.5, 2, 40, 36))
    found = image.resize((16, 16), Image.Resampling.BICUBIC, box=(1.5, 2, 40, 36))
    np.testing.assert_array_equal(np.asarray(found), np.asarray(wanted))


def test_this_environments_pillow_offers_it():
    """Else each photo costs a copy more, which holds the interpreter's lock, and nobody would see it."""
    assert hasattr(Image.core, "map_buffer")


def test_the_pixels_live_as_long_as_the_image():
    image = mapped.picture(PIXELS.copy())
    gc.collect()
    np.ones((4000, 4000), np.uint8)  # takes what was freed
    np.testing.assert_array_equal(np.asarray(image), PIXELS[:, :, :3])


def test_writing_into_the_image_leaves_the_decoders_array_alone():
    pixels = PIXELS.copy()
    image = mapped.picture(pixels)
    image.putpixel((0, 0), (1, 2, 3))
    np.testing.assert_array_equal(pixels, PIXELS)
