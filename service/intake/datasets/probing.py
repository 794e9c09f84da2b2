"""Whether items are images that can be read, before a job is accepted.

Damage inside of an image shows only when it is decoded. The first images of a request are decoded (and nothing kept),
up to WORK; of those beyond, the header and the end are looked at, which costs microseconds, and the job itself names
what it cannot read.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

from adapters.errors import InvalidInput
from adapters.modalities import image
from service.intake.datasets.items import Item, called

WORK = 512_000_000  # bytes and pixels decoded before a request is answered: 3 to 6 s of one core
_SCALED = 8  # a JPEG is decoded on the smallest scale: its bytes cost, its pixels hardly do
Turn = Callable[[], AbstractContextManager[None]]


def unusable(
    items: Sequence[Item], *, max_pixels: int = image.MOST, work: float = WORK, turn: Turn = nullcontext
) -> Iterator[tuple[int, InvalidInput]]:
    """(index, InvalidImage or ImageTooLarge) of every item that is no image that can be read. Blocking.

    `work` is how much is decoded: infinity decodes all. Each decode takes a `turn`.
    """
    for index, item in enumerate(items):
        try:
            data = item.data()
            if work <= 0:
                image.probe(data, most=max_pixels)
                continue
            work -= len(data)
            with turn():
                work -= _pixels(image.verify(data, most=max_pixels))
        except InvalidInput as error:
            name = called(index, item.example.file_name)
            yield index, type(error)(f"{name}: {error.message}", item=name)


def _pixels(facts: dict[str, object]) -> int:
    """As work."""
    pixels = int(str(facts["width"])) * int(str(facts["height"]))
    return pixels // _SCALED if facts["format"] == "JPEG" else pixels
