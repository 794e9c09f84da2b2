"""The drift of one version: its windows against the reference in its manifest."""

import math
from collections.abc import Sequence
from typing import Any

from sqlalchemy.engine import Engine

from adapters import tasks
from adapters.drift import psi
from adapters.drift.windows import NOVELTY_BINS, dense
from adapters.store.drift import windows as store
from adapters.types import HeadVersion

NOTE = (
    "answers of the version itself, to held-out examples and to what was asked, so that its mistakes are on both "
    "sides; requests are not independent, so levels are beyond what chance does with `effective` answers"
)
OLD = "the version was made before references were kept; teach the head again to get one"


def look(engine: Engine, version: HeadVersion, hours: int) -> dict[str, Any]:
    """Ready for JSON: {"answers", "labels", "novelty", "note"}; without a reference the two are None."""
    found = list(store.of_version(engine, version.head, version.number, hours).values())
    reference = version.manifest.get("trust", {}).get("reference")
    answers = sum(window.answers for window in found)
    if reference is None:
        return {"answers": answers, "labels": None, "novelty": None, "note": OLD}
    task = tasks.get(version.manifest["task"])
    names = task.bin_names(version.manifest["classes"])
    return {
        "answers": answers,
        "labels": _figures(names, reference["labels"], [window.labels for window in found], task.ALONG),
        "novelty": _figures(_novelty_names(), reference["novelty"], [w.novelty for w in found], NOVELTY_BINS),
        "note": NOTE,
    }


def _figures(
    names: Sequence[str], taught: Sequence[int], windows: Sequence[dict[int, int]], along: int
) -> dict[str, Any]:
    rows = [dense(counts, len(taught)) for counts in windows]
    asked = [sum(column) for column in zip(*rows, strict=True)] if rows else [0] * len(taught)
    found = psi.drift(taught, rows, along)
    return {
        "level": found.level, "psi": found.psi, "chance": None if math.isinf(found.chance) else found.chance,
        "answers": found.answers, "effective": found.effective, "bins": list(names),
        "taught": _shares(taught), "asked": _shares(asked),
    }  # fmt: skip


def _shares(counts: Sequence[int]) -> list[float]:
    whole = sum(counts) or 1
    return [count / whole for count in counts]


def _novelty_names() -> list[str]:
    return [f"{n / NOVELTY_BINS:g}–{(n + 1) / NOVELTY_BINS:g}" for n in range(NOVELTY_BINS)]
