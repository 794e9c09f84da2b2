"""scikit-learn's handwritten digits as PNG files: 1,797 pictures of 8×8 pixels by 13 writers."""

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

HELD_OUT = 0.25


@dataclass(frozen=True, slots=True)
class Digit:
    """One picture as a PNG file, and what it shows."""

    name: str
    png: bytes
    label: str


def load() -> tuple[list[Digit], list[Digit]]:
    """(for training, held out): always the same split, with each digit's share in both."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    digits = [
        Digit(f"{number:04}.png", png(ink), str(target))
        for number, (ink, target) in enumerate(zip(bunch.images, bunch.target, strict=True))
    ]
    teach, held_out = train_test_split(digits, test_size=HELD_OUT, random_state=0, stratify=bunch.target)
    return teach, held_out


def png(ink: np.ndarray) -> bytes:
    """Ink from 0 to 16, f64 [8, 8] → a PNG of dark strokes on white paper, 10×10 pixels.

    The margin of one pixel matters: like most, the default backbone looks at the central 7/8 of a picture.
    """
    paper = 255 - np.pad(ink * (255 / 16), 1).round().astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(paper).save(file, "PNG")
    return file.getvalue()


def drawing(digit: Digit) -> str:
    """A digit in characters, darker for more ink."""
    pixels = np.asarray(Image.open(io.BytesIO(digit.png)))
    shades = " .:-=+*#%@"
    rows = ((255 - pixels.astype(int)) * (len(shades) - 1)) // 255
    return "\n".join("".join(shades[v] * 2 for v in row) for row in rows)
