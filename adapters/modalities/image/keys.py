"""The one colour of a PNG that is transparent (tRNS): looked for in whole samples.

Pillow compares it with what it has made of them: the upper 8 of 16 bits, which other colours share, and 2 or 4 bits
scaled to 8, which the key is not. libpng, and so libvips, compares samples, as the standard has it (ISO/IEC 15948,
tRNS).
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

from adapters.modalities.image.facts import Facts
from adapters.modalities.image.strips import boxes

_LOW_BYTES = "RGB;16L"  # Pillow's name for samples whose second byte is the upper one: of a PNG, that is the lower one


def is_deep(facts: Facts) -> bool:
    """Whether `hidden` needs the lower bytes, too: colours of 16 bits, of which Pillow keeps the upper ones."""
    return len(facts.clear) == 3 and facts.bits == 16


def low_bytes(image: Image.Image) -> None:
    """Have an opened, not yet loaded PNG of 16-bit colours load the lower byte of each sample."""
    image.tile = [tile._replace(args=_LOW_BYTES) for tile in image.tile]  # type: ignore[attr-defined]


def hidden(image: Image.Image, facts: Facts, low: Image.Image | None = None) -> Image.Image:
    """255 where a pixel is the transparent one, else 0: mode L, of the size. `low` is the same of the lower bytes."""
    key = _as_pillow_has_it(facts)
    found = Image.new("L", image.size)
    for box in boxes(image):
        same = _same(image, box, key)
        if low is not None:
            same &= np.asarray(low.crop(box)) > 0
        found.paste(Image.fromarray(same.astype(np.uint8) * np.uint8(255)), box[:2])
    return found


def hidden_by_low_bytes(image: Image.Image, facts: Facts) -> Image.Image:
    """The same of an image that holds lower bytes alone."""
    return hidden(image, Facts(bits=8, clear=tuple(sample & 255 for sample in facts.clear)))


def _as_pillow_has_it(facts: Facts) -> tuple[int, ...]:
    """Bits above the depth of samples count for nothing, as for libpng; few bits are scaled to 8."""
    most = (1 << facts.bits) - 1
    samples = [sample & most for sample in facts.clear]
    if facts.bits == 16:
        return tuple(sample >> 8 for sample in samples) if len(samples) == 3 else tuple(samples)
    return tuple(sample * 255 // most for sample in samples)


def _same(image: Image.Image, box: tuple[int, int, int, int], key: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """bool [rows, W]."""
    strip = image.crop(box)
    pixels = np.asarray(strip.convert("L") if strip.mode == "1" else strip)
    return np.equal(np.atleast_3d(pixels), np.array(key, pixels.dtype)).all(axis=-1)
