"""All that is wrong with the items of one request, gathered so that one answer tells it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any

from adapters.errors import EspalierError, InvalidInput, ItemProblem

MOST = 50  # items that one answer lists; the others are counted
MOST_SAID = 300  # characters of what is said of one of them


@dataclass(slots=True)
class Problems:
    """Errors of items, in the order they were found: the first is told in full, at most MOST are listed."""

    first: EspalierError | None = None
    listed: list[ItemProblem] = field(default_factory=list)
    count: int = 0

    def add(self, error: EspalierError) -> None:
        """One more."""
        self.first = self.first or error
        self.count += 1
        if len(self.listed) < MOST:
            self.listed.append(ItemProblem((error.item or "")[:MOST_SAID], error.code, error.message[:MOST_SAID]))

    def raise_any(self, rest: str = "") -> None:
        """Raise the first, with the list of all; `rest` is said behind its message where there are several.

        Raises an error of the first one's class, if there is one.
        """
        if self.first is None:
            return
        others = f" ({rest or f'and {self.count - 1} more'}; `errors` lists them)" if self.count > 1 else ""
        error = type(self.first)(self.first.message + others, item=self.first.item)
        error.errors, error.error_count = tuple(self.listed), self.count
        raise error

    def facts(self) -> dict[str, Any]:
        """{"count", "list"}, ready for JSON."""
        return {"count": self.count, "list": [asdict(problem) for problem in self.listed]}


@contextmanager
def naming(item: str) -> Iterator[None]:
    """What is wrong with an input that is read meanwhile is said with its name: raises InvalidInput of that kind."""
    try:
        yield
    except InvalidInput as error:
        raise type(error)(f"{item}: {error.message}", item=item) from error


def each(error: EspalierError, found: Mapping[str, str]) -> EspalierError:
    """An error that lists items of one kind, with what is said of each: its own message names the first few."""
    rows = islice(found.items(), MOST)
    error.errors = tuple(ItemProblem(item[:MOST_SAID], error.code, said) for item, said in rows)
    error.error_count = len(found)
    return error


def listed(error: EspalierError) -> dict[str, Any]:
    """{"errors", "error_count"} of an error that has them, ready for JSON; else nothing."""
    if not error.errors:
        return {}
    return {"errors": [asdict(problem) for problem in error.errors], "error_count": error.error_count}
