"""A picture strip by strip: what is worked out of a large one then takes little beside it."""

from collections.abc import Iterator

from PIL import Image

_PIXELS = 1 << 18  # of a strip, at most, unless a row is longer

Box = tuple[int, int, int, int]  # left, top, right, bottom


def boxes(image: Image.Image) -> Iterator[Box]:
    """From the top down, each as wide as the image."""
    for top, bottom in rows(image.width, image.height):
        yield 0, top, image.width, bottom


def rows(width: int, height: int) -> Iterator[tuple[int, int]]:
    """(first row, row after the last) of each."""
    step = max(1, _PIXELS // width)
    for top in range(0, height, step):
        yield top, min(top + step, height)
