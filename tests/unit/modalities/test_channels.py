"""Pixels of as many channels as a backbone reads: grey, colours, or colours and alpha."""

import io
import struct

import numpy as np
import pytest
from PIL import Image
from support.odd_files import png
from support.pictures import encoded, shape

from adapters.errors import InvalidImage, InvalidInput
from adapters.modalities import image
from adapters.modalities.image import Preprocessing, calibration

SIDE = 32
RGB = Preprocessing(SIDE, 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3)
GREY = Preprocessing(SIDE, 1.0, "bicubic", (0.5,), (0.5,))
ALPHA = Preprocessing(SIDE, 1.0, "bicubic", (0.5,) * 4, (0.5,) * 4)


def veiled(seed: int = 0, mode: str = "RGBA", format: str = "PNG") -> bytes:
    """A picture whose left half is transparent, as wide as high."""
    picture = Image.open(io.BytesIO(shape("circle", seed, side=64))).convert("RGBA")
    alpha = np.full((64, 64), 255, np.uint8)
    alpha[:, :32] = 0
    picture.putalpha(Image.fromarray(alpha))
    return encoded(picture.convert(mode), format)


def deep_grey() -> bytes:
    values = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    return encoded(Image.fromarray(values))


def pixels(data: bytes, spec: Preprocessing) -> np.ndarray:
    return image.decode(data, spec)[image.NAME]


@pytest.mark.parametrize("spec", [RGB, GREY, ALPHA])
def test_every_tensor_has_the_channels_of_the_backbone(spec):
    """What is decoded, its views, what is made up to prove graphs with, and the shape that a graph is given."""
    shape_of_one = (SIDE, SIDE, spec.channels)
    views = image.decode_views(veiled(), spec, ["served", "flip", "top-left"])
    found = [pixels(veiled(), spec), *(view[image.NAME] for view in views)]
    found += [one[image.NAME] for one in image.trial(spec, 2)]
    assert {each.shape for each in found} == {shape_of_one} and {each.dtype.name for each in found} == {"uint8"}
    assert image.inputs(spec)[0].shape == shape_of_one
    assert image.collate([{image.NAME: found[0]}] * 2, spec)[image.NAME].shape == (2, *shape_of_one)
    np.testing.assert_array_equal(found[2], found[1][:, ::-1])


@pytest.mark.parametrize(
    "data", [deep_grey(), encoded(Image.fromarray(np.arange(4096, dtype=np.uint8).reshape(64, 64)))]
)
def test_a_grey_picture_is_the_same_to_a_backbone_of_one_channel(data):
    """To the bit what each of three channels would be, of 8 and of 16 bits."""
    np.testing.assert_array_equal(pixels(data, GREY).repeat(3, axis=2), pixels(data, RGB))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WebP", "BMP", "TIFF"])
def test_colours_are_made_grey_by_how_bright_they_look(format):
    """ITU-R 601, of every format; a JPEG goes another way to its pixels."""
    data = shape("square", 3, format)
    weights = np.array([0.299, 0.587, 0.114])
    np.testing.assert_allclose(pixels(data, GREY)[..., 0], pixels(data, RGB) @ weights, atol=3)


def test_alpha_is_read_and_not_put_over_white():
    """Transparent on the left, opaque on the right; colours as they are where there is anything to see."""
    found = pixels(veiled(), ALPHA)
    assert (found[:, : SIDE // 2 - 2, 3] == 0).all() and (found[:, SIDE // 2 + 2 :, 3] == 255).all()
    opaque = np.s_[:, SIDE // 2 + 2 :, :3]
    np.testing.assert_allclose(found[opaque].astype(int), pixels(veiled(), RGB)[opaque], atol=1)
    assert (pixels(veiled(), RGB)[:, : SIDE // 2 - 2] == 255).all()


@pytest.mark.parametrize(
    "data", [veiled(format="WebP"), veiled(format="TIFF"), veiled(mode="LA"), veiled(mode="PA", format="TIFF")]
)
def test_alpha_of_other_kinds_is_read_as_well(data):
    assert pixels(data, ALPHA)[0, :, 3].tolist()[:: SIDE - 1] == [0, 255]


@pytest.mark.parametrize(
    "data",
    [shape("circle", 0), shape("circle", 0, "JPEG"), shape("circle", 0, "BMP"), deep_grey(),
     encoded(Image.open(io.BytesIO(shape("circle", 0))).convert("CMYK"), "TIFF")],
    ids=["PNG", "JPEG", "BMP", "grey", "CMYK"],
)  # fmt: skip
def test_a_picture_without_alpha_is_refused_where_it_is_read_with_what_to_do(data):
    """Nothing is made up in its place; four inks are no alpha."""
    with pytest.raises(InvalidImage, match=r"no alpha channel.*send a PNG"):
        image.decode(data, ALPHA)
    assert pixels(data, RGB).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize(
    ("samples", "depth", "colour", "key"),
    [
        (np.full((64, 64), 5, np.uint8), 4, 0, (5,)),
        (np.full((64, 64), 200, np.uint8), 8, 0, (200,)),
        (np.full((64, 64), 51_234, np.uint16), 16, 0, (51_234,)),
        (np.full((64, 64, 3), 77, np.uint8), 8, 2, (77, 77, 77)),
        (np.full((64, 64, 3), 51_234, np.uint16), 16, 2, (51_234,) * 3),
    ],
)
def test_the_transparent_colour_of_a_png_is_read_as_alpha(samples, depth, colour, key):
    """In every depth, on whole samples: one beside it is opaque."""
    samples[:, :32] -= 1
    found = pixels(png(samples, depth, colour, {b"tRNS": struct.pack(f">{len(key)}H", *key)}), ALPHA)
    assert (found[:, : SIDE // 2 - 2, 3] == 255).all() and (found[:, SIDE // 2 + 2 :, 3] == 0).all()


def test_pictures_that_differ_in_alpha_alone_are_no_duplicates():
    """A thumbnail shows what is seen over white; of grey ones it is what it is of the same in colours."""
    whole = pixels(veiled(), ALPHA)
    other = whole.copy()
    other[..., 3] = 255 - other[..., 3]
    one, two = (image.fingerprint({image.NAME: each}).astype(int) for each in (whole, other))
    assert np.abs(one - two).mean() > 20
    grey = pixels(deep_grey(), GREY)
    same = image.fingerprint({image.NAME: grey.repeat(3, axis=2)}).astype(int)
    np.testing.assert_allclose(image.fingerprint({image.NAME: grey}).astype(int), same, atol=1)


def test_a_grey_backbone_is_calibrated_on_grey_crops_and_one_of_alpha_on_a_folder(tmp_path):
    """Crops of photos have no alpha; images of one's own may have."""
    assert calibration.crops(GREY).calibrated.shape[1:] == (SIDE, SIDE, 1)
    with pytest.raises(InvalidInput, match="name a folder"):
        calibration.crops(ALPHA)
    for number in range(calibration.LEAST):
        (tmp_path / f"{number}.png").write_bytes(veiled(number))
    assert calibration.folder(tmp_path, ALPHA).held_out.shape[1:] == (SIDE, SIDE, 4)
