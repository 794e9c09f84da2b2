"""Any Pillow mode → RGB: transparency over white, deep samples scaled to 8 bits, inks to light.

One rule for ranges, in training and in serving: samples of more than 8 bits reach from 0 to the most that their
declared depth holds. A picture that uses less than a quarter of that range has been saved with another range in mind
(a camera's 10, 12 or 14 bits, a table of 8-bit values), and which one the file does not say: it is refused, for it
would be nearly black, and stretching each picture by its own maximum would make a dark one bright. ADR 15.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageChops

from adapters.errors import InvalidImage
from adapters.modalities.image.facts import Facts
from adapters.modalities.image.strips import Box, boxes

_ALPHA = ("RGBA", "LA", "PA", "RGBa", "La")
_ANY = [0, *[255] * 255]  # a table: 255 for all but zero
_DARK = 4  # a picture whose brightest sample is below one part in so many of the range
Integers = npt.NDArray[np.unsignedinteger]
Mask = (
    Image.Image | None
)  # mode L: 255 where the one transparent colour of the file is, see keys.py; None: there is none


def flattened(image: Image.Image, facts: Facts, hidden: Mask = None) -> Image.Image:
    """A loaded image → RGB, or L for grey, of its size; `image` itself may be what is painted on.

    Raises InvalidImage for samples without an agreed range.
    """
    if image.mode == "F":
        raise InvalidImage("float pixels have no agreed range; convert the image to 8 or 16 bits")
    shown = _of_eight_bits(image, facts, hidden)
    if hidden is not None:
        shown.paste("white", mask=hidden)
    elif _has_alpha(shown):
        return _over_white(shown) if _is_meant(shown, facts) else shown.convert("RGB")
    return shown if shown.mode in ("RGB", "L") else shown.convert("RGB")


def with_alpha(image: Image.Image, facts: Facts, hidden: Mask = None) -> Image.Image:
    """A loaded image → RGBA of its size. Raises InvalidImage for one without an alpha channel."""
    if hidden is None and not (_has_alpha(image) and _is_meant(image, facts)):
        raise InvalidImage(
            "it has no alpha channel, and the backbone reads four channels: red, green, blue and alpha; send a PNG,"
            " WebP or TIFF that has one, or name a backbone of three channels"
        )
    shown = _of_eight_bits(image, facts, hidden)
    shown = shown if shown.mode == "RGBA" else shown.convert("RGBA")
    if hidden is not None:
        shown.putalpha(ImageChops.invert(hidden))
    return shown


def _has_alpha(image: Image.Image) -> bool:
    return image.mode in _ALPHA or "transparency" in image.info


def _of_eight_bits(image: Image.Image, facts: Facts, hidden: Mask) -> Image.Image:
    """Deep grey as mode L; all else Pillow has in 8 bits already, of which the range is judged."""
    if image.mode.startswith("I"):
        return _of_deep_grey(image, facts, hidden)
    if facts.bits > 8 and image.mode != "CMYK":  # blank paper takes no ink at all
        _refuse_unused(_brightest(image, facts, hidden) << 8, 16)
    return image


def _of_deep_grey(image: Image.Image, facts: Facts, hidden: Mask) -> Image.Image:
    """Pillow's convert("RGB") clips at 255, which turns every 16-bit photo white."""
    bits = _range(image, facts, hidden)
    grey = Image.new("L", image.size)
    for box in boxes(image):
        samples = _samples(image, box)
        shown = (samples >> (bits - 8) if bits >= 8 else samples << (8 - bits)).astype(np.uint8)
        grey.paste(Image.fromarray(~shown if facts.white_is_zero else shown), box[:2])
    return grey


def _range(image: Image.Image, facts: Facts, hidden: Mask) -> int:
    """How many bits samples reach over. Raises InvalidImage for one that nobody declared. What is hidden has no say."""
    bits = facts.bits if facts.bits > 8 else 16
    most = max(int(samples.max(initial=0)) for samples in _seen(image, hidden))
    few = facts.significant
    if few < bits and most < 1 << few and not all(_is_scaled(samples, few, bits) for samples in _seen(image, hidden)):
        bits = few  # kept at the low end, as programs do that copy a camera's numbers
    if not _is_drawn_on_clear(image, hidden, bits):
        _refuse_unused(most, bits)
    return bits


def _is_drawn_on_clear(image: Image.Image, hidden: Mask, bits: int) -> bool:
    """Whether a clear grey lies among dark ones: white below it makes two tones, as Pillow's own `i_trns.png` has.

    One at the upper end of the range marks what is missing, and tells nothing of the rest.
    """
    if hidden is None or not hidden.getbbox():
        return False
    clear = (_samples(image, box)[np.asarray(hidden.crop(box)) != 0] for box in boxes(image))
    return max(int(samples.max(initial=0)) for samples in clear) < (1 << bits) // _DARK


def _is_scaled(samples: Integers, few: int, bits: int) -> bool:
    """Whether samples of few bits are spread over more as the PNG standard has it ("Sample depth scaling").

    The lower bits then are zero, or what scaling makes of the upper ones: a dark picture, not one at the low end.
    """
    upper, most = samples.astype(np.uint64) >> np.uint64(bits - few), np.uint64((1 << few) - 1)
    scaled = (upper * np.uint64((1 << bits) - 1) + most // np.uint64(2)) // most
    return bool(((samples == upper << np.uint64(bits - few)) | (samples == scaled)).all())


def _seen(image: Image.Image, hidden: Mask) -> Iterator[Integers]:
    """The samples that are not hidden: of each strip [rows, W], or [N]."""
    for box in boxes(image):
        samples = _samples(image, box)
        yield samples if hidden is None else samples[np.asarray(hidden.crop(box)) == 0]


def _samples(image: Image.Image, box: Box) -> Integers:
    """[rows, W] of uint16, or of uint32 which Pillow holds as int32."""
    samples = np.asarray(image.crop(box))
    return samples.view(np.uint32) if samples.dtype == np.int32 else samples


def _refuse_unused(most: int, bits: int) -> None:
    """Black is black in any range; anything else has to reach into it."""
    if 0 < most < (1 << bits) // _DARK:
        raise InvalidImage(
            f"its brightest sample is {most:,} of {(1 << bits) - 1:,}: the picture would be nearly black, or it has a"
            f" range that the file does not declare; scale it to the full range of {bits} bits, or save it with 8 bits"
        )


def _brightest(image: Image.Image, facts: Facts, hidden: Mask) -> int:
    """The highest value of any colour that is seen, 1 to 255; 0 where nothing is.

    Black counts as dark: low bits are gone.
    """
    veiled = image.mode in _ALPHA and _is_meant(image, facts)
    most = 0
    for box in boxes(image):
        *colours, last = image.crop(box).split()
        colours = colours if image.mode in _ALPHA else [*colours, last]
        seen = last.point(_ANY) if veiled else None if hidden is None else ImageChops.invert(hidden.crop(box))
        if seen is None or seen.getbbox():
            most = max(1, most, *(_highest(band, seen) for band in colours))
    return most


def _highest(band: Image.Image, seen: Image.Image | None) -> int:
    return int((band if seen is None else ImageChops.darker(band, seen)).getextrema()[1])  # type: ignore[arg-type]


def _is_meant(image: Image.Image, facts: Facts) -> bool:
    """False for an alpha channel that is only there because pixels have four bytes: undeclared, and zero everywhere."""
    if facts.declares_alpha or image.mode != "RGBA":
        return True
    return any(np.asarray(image.crop(box))[..., 3].any() for box in boxes(image))


def _over_white(image: Image.Image) -> Image.Image:
    """Transparent pixels hold any colour at all; white is what a person sees on a page."""
    rgb = Image.new("RGB", image.size)
    for box in boxes(image):
        strip = image.crop(box).convert("RGBA")
        background = Image.new("RGBA", strip.size, (255, 255, 255, 255))
        rgb.paste(Image.alpha_composite(background, strip).convert("RGB"), box[:2])
    return rgb
