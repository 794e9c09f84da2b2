"""Rows → what is recorded: figures of each way, paired differences to the shallow winner, and what has a limit."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from benchmarks import record
from benchmarks.taps import interval, pairs

Row = dict[str, Any]
FIGURES = ("accuracy", "loss", "ece", "seconds")
SHALLOW, AUTO, ALL = "shallow", "auto", "all"
HEADS = ("pooled", "taps", SHALLOW)
LONGEST, *LOOPS = "fine_tune, 20 epochs", "fine_tune", "scratch"
SIGNS = {"data": "gtsrb", "shots": "full"}  # 42 a class
LIMITS = {
    "accuracy kept by auto, at least": 0.998, "gtsrb: accuracy of auto": 0.97,
    "gtsrb: accuracy of auto, of fine_tune's": 0.99, "gtsrb: seconds of auto, of fine_tune's": 0.2,
}  # fmt: skip
GAP_CLOSED = "gap closed"
GAP = 0.7  # that is to be closed, of any data set that all layers were trained on
THIRD = 1 / 3  # of the time of all layers that the best cut may take


def results(rows: Sequence[Row]) -> dict[str, Any]:
    """All there is to say of rows; limits of what there is a figure for."""
    goals = _goals(rows)
    found: dict[str, Any] = dict(goals)
    for data, shots in dict.fromkeys((row["data"], row["shots"]) for row in rows):
        here = [row for row in rows if (row["data"], row["shots"]) == (data, shots)]
        for way in dict.fromkeys(row["way"] for row in here):
            found |= {f"{data}, {shots}, {way}: {name}": row for name, row in _figures(here, way).items()}
    return found | {"limits": {name: LIMITS.get(name, GAP) for name in goals}}


def _figures(here: Sequence[Row], way: str) -> dict[str, Any]:
    mine = [row for row in here if row["way"] == way]
    figures = {name: [row[name] for row in mine] for name in FIGURES}
    if way not in HEADS:
        for name in ("accuracy", "loss"):
            less = pairs(here, name, way, SHALLOW)
            if len(less):
                figures[f"{name}, less {SHALLOW}'s ({interval(less)})"] = less.tolist()
    return {name: record.spread(values) for name, values in figures.items()}


def _goals(rows: Sequence[Row]) -> dict[str, Any]:
    signs = [row for row in rows if all(row[name] == value for name, value in SIGNS.items())]
    auto = [row["accuracy"] for row in signs if row["way"] == AUTO]
    found = {
        "accuracy kept by auto, at least": _lowest(1 + pairs(rows, "accuracy", AUTO, SHALLOW)),
        "gtsrb: accuracy of auto": auto,
        **_gaps([row for row in rows if row["shots"] == SIGNS["shots"]]),
        "gtsrb: accuracy of auto, of fine_tune's": _ratios(signs, "accuracy", AUTO, LONGEST),
        "gtsrb: seconds of auto, of fine_tune's": _ratios(signs, "seconds", AUTO, LONGEST),
    }
    return {name: record.spread(values) for name, values in found.items() if len(values)}


def _lowest(kept: np.ndarray) -> list[float]:
    """The lower end of the 95 % interval of a mean over data sets, shots and seeds."""
    return [float(kept.mean() - 1.96 * kept.std(ddof=1) / len(kept) ** 0.5)] if len(kept) > 1 else []


def _gaps(rows: Sequence[Row]) -> dict[str, list[float]]:
    """By data set, of each seed: by the best cut alone, and by `auto`, where the shallow head has a say beside one."""
    found = {}
    for name in dict.fromkeys(row["data"] for row in rows):
        here = [row for row in rows if row["data"] == name]
        cuts = {row["way"] for row in here} - {*HEADS, LONGEST, *LOOPS, AUTO, ALL}
        for who, ways in ((GAP_CLOSED, cuts), (f"{GAP_CLOSED} by {AUTO}", {AUTO})):
            found[f"{name}: {who}"] = [closed for seed in _seeds(here) for closed in _closed(here, seed, ways)]
    return found


def _closed(rows: Sequence[Row], seed: int, ways: Collection[str]) -> list[float]:
    """The share of the way from the best shallow head to all layers that the best of `ways` goes in a third of the
    time.
    """
    mine = {row["way"]: row for row in rows if row["seed"] == seed}
    cut = [row for way, row in mine.items() if way in ways]
    heads = [mine[way]["accuracy"] for way in HEADS if way in mine]
    if ALL not in mine or not heads or mine[ALL]["accuracy"] <= max(heads):
        return []
    quick = [row["accuracy"] for row in cut if row["seconds"] <= THIRD * mine[ALL]["seconds"]]
    return [(max(quick) - max(heads)) / (mine[ALL]["accuracy"] - max(heads))] if quick else [0.0]


def _ratios(rows: Sequence[Row], figure: str, way: str, against: str) -> list[float]:
    logs = [row | {figure: np.log(row[figure])} for row in rows]
    return np.exp(pairs(logs, figure, way, against)).tolist()


def _seeds(rows: Sequence[Row]) -> list[int]:
    return sorted({row["seed"] for row in rows})
