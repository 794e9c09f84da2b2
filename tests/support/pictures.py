"""Pictures that a head learns from a handful of: coloured shapes on noise, and scikit-learn's digits."""

import io
import zipfile
import zlib
from collections.abc import Iterable, Sequence

import numpy as np
from PIL import Image, ImageDraw

from service.client import LabeledImage

SIDE = 64  # pixels
COLOURS = {
    "circle": (220, 40, 40), "square": (40, 180, 60), "triangle": (50, 80, 220), "cross": (230, 200, 40),
    "bar": (20, 200, 210),
}  # fmt: skip
SHAPES = tuple(COLOURS)


def shape(kind: str, seed: int, format: str = "PNG", side: int = SIDE) -> bytes:
    """One picture of a shape; another seed is another place, size and background."""
    random = np.random.default_rng([seed, zlib.crc32(kind.encode())])
    ground = random.integers(90, 160, (side // 8, side // 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    image = Image.fromarray(ground).convert("RGB")
    draw = ImageDraw.Draw(image)
    size = int(random.integers(side // 2, side * 3 // 4))
    x, y = (int(v) for v in random.integers(0, side - size, 2))
    _draw(draw, kind, x, y, size)
    return encoded(image, format)


def _draw(draw: ImageDraw.ImageDraw, kind: str, x: int, y: int, size: int) -> None:
    box, fill = (x, y, x + size, y + size), COLOURS[kind]
    third = size // 3
    match kind:
        case "circle":
            draw.ellipse(box, fill)
        case "square":
            draw.rectangle(box, fill)
        case "triangle":
            draw.polygon([(x, y + size), (x + size // 2, y), (x + size, y + size)], fill)
        case "cross":
            draw.rectangle((x + third, y, x + 2 * third, y + size), fill)
            draw.rectangle((x, y + third, x + size, y + 2 * third), fill)
        case "bar":
            draw.rectangle((x, y + third, x + size, y + 2 * third), fill)


def encoded(image: Image.Image, format: str = "PNG") -> bytes:
    """The file of an image."""
    file = io.BytesIO()
    image.save(file, format)
    return file.getvalue()


def shapes(kinds: Sequence[str] = SHAPES[:3], each: int = 8, start: int = 0) -> list[LabeledImage]:
    """`each` pictures of every kind, labeled with it."""
    return [labeled(f"{k}-{n}.png", shape(k, n), k) for n in range(start, start + each) for k in kinds]


def labeled(name: str, data: bytes, label: str, split: str | None = None) -> LabeledImage:
    """An image in memory with its label."""
    return LabeledImage(name, lambda: data, label, split)


def digits() -> tuple[list[bytes], list[str]]:
    """scikit-learn's 1,797 handwritten digits as PNG files, and what they are."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pixels = (bunch.images * (255 / 16)).round().astype(np.uint8)  # [1797, 8, 8]
    files = [encoded(Image.fromarray(p).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for p in pixels]
    return files, [str(t) for t in bunch.target]


def zipped(files: Iterable[tuple[str, bytes]]) -> bytes:
    """A zip archive of (name, bytes)."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files:
            archive.writestr(name, data)
    return out.getvalue()


def scene(kinds: Sequence[str], seed: int, share: float = 0.4) -> bytes:
    """One picture of several shapes, or none, each `share` of its side large and in a corner of its own."""
    random = np.random.default_rng([seed, 77])
    ground = random.integers(90, 160, (SIDE // 8, SIDE // 8), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
    image = Image.fromarray(ground).convert("RGB")
    draw, half, size = ImageDraw.Draw(image), SIDE // 2, int(share * SIDE)
    for corner, kind in zip(random.permutation(4).tolist(), kinds, strict=False):
        _draw(draw, kind, corner % 2 * half, corner // 2 * half, size)
    return encoded(image)
