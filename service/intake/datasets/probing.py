"""Whether items are inputs that can be read, before a job is accepted.

Damage inside of an image shows only when it is decoded. The first inputs of a request are verified in full (and nothing
kept), up to WORK; of those beyond, what shows without that is looked at, which costs microseconds, and the job itself
names what it cannot read.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from adapters import modalities
from adapters.errors import InvalidInput
from adapters.types import ORIGINAL
from service.intake.datasets.items import Item, called

WORK = 512_000_000  # bytes and pixels decoded before a request is answered: 3 to 6 s of one core
Turn = Callable[[], AbstractContextManager[None]]
Tell = Callable[[int, dict[str, Any]], None]  # (index, facts)


def unusable(
    items: Sequence[Item],
    *,
    modality: str = ORIGINAL,
    most: int | None = None,
    work: float = WORK,
    turn: Turn = nullcontext,
    tell: Tell = lambda index, facts: None,
) -> Iterator[tuple[int, InvalidInput]]:
    """(index, what is wrong) of every item that is no input of that modality that can be read. Blocking.

    `most` is what one input may cost, in the modality's units; `work` is how much is verified in full: infinity
    verifies all. Each takes a `turn`; `tell` is told the facts of those that are sound.
    """
    kind = modalities.get(modality)
    most = kind.MOST if most is None else most
    for index, item in enumerate(items):
        try:
            data = item.data()
            if work <= 0:
                tell(index, kind.probe(data, most=most).facts)
                continue
            work -= len(data)
            with turn():
                facts = kind.verify(data, most=most)
            work -= _effort(kind, facts)
            tell(index, facts)
        except InvalidInput as error:
            name = called(index, item.example.file_name, kind.NOUN)
            yield index, type(error)(f"{name}: {error.message}", item=name)


def _effort(modality: Any, facts: dict[str, Any]) -> int:
    """What verifying took beside reading the bytes, as work; nothing of a modality that does not say."""
    effort: Callable[[dict[str, Any]], int] = getattr(modality, "effort", lambda _: 0)
    return effort(facts)
