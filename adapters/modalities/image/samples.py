"""Any Pillow mode → RGB: transparency over white, deep samples scaled to 8 bits, inks to light.

One rule for ranges, in training and in serving: samples of more than 8 bits reach from 0 to the most that their
declared depth holds. A picture that uses less than a quarter of that range has been saved with another range in mind
(a camera's 10, 12 or 14 bits, a table of 8-bit values), and which one the file does not say: it is refused, for it
would be nearly black, and stretching each picture by its own maximum would make a dark one bright. ADR 15.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image

from adapters.errors import InvalidImage
from adapters.modalities.image.facts import Facts

_STRIP = 1 << 18  # pixels worked on at a time: large pictures take little beside themselves
_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_DARK = 4  # a picture whose brightest sample is below one part in so many of the range
Integers = npt.NDArray[np.unsignedinteger]


def flattened(image: Image.Image, facts: Facts) -> Image.Image:
    """A loaded image → RGB, or L for grey, of its size. Raises InvalidImage for samples without an agreed range."""
    if image.mode == "F":
        raise InvalidImage("float pixels have no agreed range; convert the image to 8 or 16 bits")
    if image.mode.startswith("I"):
        return _of_deep_grey(image, facts)
    if facts.bits > 8 and image.mode != "CMYK":  # blank paper takes no ink at all
        _refuse_unused(_brightest(image) << 8, 16)
    if image.mode in _ALPHA or "transparency" in image.info:
        return _unveiled(image) if _is_unused_alpha(image, facts) else _over_white(image)
    return image if image.mode in ("RGB", "L") else image.convert("RGB")


def with_alpha(image: Image.Image, facts: Facts) -> Image.Image:
    """A loaded image → RGBA of its size. Raises InvalidImage for one without an alpha channel."""
    transparent = image.mode in _ALPHA or "transparency" in image.info
    if not transparent or image.mode.startswith("I") or _is_unused_alpha(image, facts):
        raise InvalidImage(
            "it has no alpha channel, and the backbone reads four channels: red, green, blue and alpha; send a PNG,"
            " WebP or TIFF that has one, or name a backbone of three channels"
        )
    if facts.bits > 8:
        _refuse_unused(_brightest(image) << 8, 16)
    return image if image.mode == "RGBA" else image.convert("RGBA")


def _of_deep_grey(image: Image.Image, facts: Facts) -> Image.Image:
    """Pillow's convert("RGB") clips at 255, which turns every 16-bit photo white."""
    most = max(int(samples.max()) for _, samples in _strips(image))
    bits = facts.bits if facts.bits > 8 else 16
    if facts.significant < bits and most < 1 << facts.significant:
        bits = facts.significant  # kept at the low end, as programs do that copy a camera's numbers
    if not any((samples == facts.clear).any() for _, samples in _strips(image)):
        _refuse_unused(most, bits)
    grey = Image.new("L", image.size)
    for top, samples in _strips(image):
        grey.paste(Image.fromarray(_shown(samples, bits, facts)), (0, top))
    return grey


def _shown(samples: Integers, bits: int, facts: Facts) -> npt.NDArray[np.uint8]:
    """The upper 8 of so many bits; white where a sample is the transparent one."""
    shown = (samples >> (bits - 8) if bits >= 8 else samples << (8 - bits)).astype(np.uint8)
    if facts.white_is_zero:
        np.invert(shown, out=shown)
    if facts.clear is not None:
        shown[samples == facts.clear] = 255
    return shown


def _strips(image: Image.Image) -> Iterator[tuple[int, Integers]]:
    """(top row, samples [rows, W]): uint16, or uint32 which Pillow holds as int32."""
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        samples = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
        yield top, samples.view(np.uint32) if samples.dtype == np.int32 else samples


def _refuse_unused(most: int, bits: int) -> None:
    """Black is black in any range; anything else has to reach into it."""
    if 0 < most < (1 << bits) // _DARK:
        raise InvalidImage(
            f"its brightest sample is {most:,} of {(1 << bits) - 1:,}: the picture would be nearly black, or it has a"
            f" range that the file does not declare; scale it to the full range of {bits} bits, or save it with 8 bits"
        )


def _brightest(image: Image.Image) -> int:
    """The highest value of any colour channel, alpha aside, 0 to 255. Black counts as dark: low bits are gone."""
    bands = [extreme for band, extreme in zip(image.getbands(), _extremes(image), strict=True) if band not in "Aa"]
    return max(1, *(high for _, high in bands))


def _extremes(image: Image.Image) -> list[tuple[int, int]]:
    found = image.getextrema()
    return [found] if isinstance(found[0], int | float) else list(found)  # type: ignore[list-item]


def _is_unused_alpha(image: Image.Image, facts: Facts) -> bool:
    """Nothing to see at all, by an alpha channel that is only there because pixels have four bytes."""
    return not facts.declares_alpha and image.mode == "RGBA" and _extremes(image)[3] == (0, 0)


def _unveiled(image: Image.Image) -> Image.Image:
    return Image.merge("RGB", image.split()[:3])


def _over_white(image: Image.Image) -> Image.Image:
    """Transparent pixels hold any colour at all; white is what a person sees on a page."""
    rgb = Image.new("RGB", image.size)
    rows = max(1, _STRIP // image.width)
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(top + rows, image.height))).convert("RGBA")
        background = Image.new("RGBA", strip.size, (255, 255, 255, 255))
        rgb.paste(Image.alpha_composite(background, strip).convert("RGB"), (0, top))
    return rgb
