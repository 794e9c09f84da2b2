"""Where the command line writes: answers on standard output, what goes on meanwhile on standard error."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

Json = dict[str, Any]
# Piped output has no width of its own; 80 columns would cut names.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)
MOST_LISTED = 20  # files that were passed over, and the like


@contextmanager
def status(text: str, *, quiet: bool) -> Iterator[None]:
    """A spinner on standard error while something takes its time."""
    if quiet:
        yield
        return
    with err.status(text):
        yield


def path(file: Path) -> str:
    """A path for people, whatever its bytes are."""
    return str(file).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def some(console: Console, what: str, found: Json, rows: Sequence[str]) -> None:
    """Counted, and listed as far as fits a screen."""
    if found["count"]:
        console.print(f"[yellow]{what}: {found['count']}[/]")
        for row in rows[:MOST_LISTED]:
            console.print(f"  {escape(row)}")
        if found["count"] > len(rows[:MOST_LISTED]):
            console.print(f"  and {found['count'] - len(rows[:MOST_LISTED])} more")


def lines(told: Iterable[str]) -> None:
    """Each on a line of its own, as it is."""
    for line in told:
        out.print(line)


def code(code: str) -> str:
    """The code of an error, behind its sentence."""
    return escape(f"[{code}]")  # else rich would take it for markup and leave it out


def short(value: Any) -> str:
    """A hyperparameter, in as many digits as anybody reads."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
