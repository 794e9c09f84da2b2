"""Views of few images as further training rows: accuracy and log-loss with and without, by shots a class.

    python -m benchmarks views
    python -m benchmarks.views [--data weather digits] [--seeds 2] [--shots 1 2 5 10 50]

A third of each data set, whole groups of near-duplicates, is the test set of a seed, seen as serving sees it. A choice
of views is trained on whatever comes of it; `race` is what `auto` does up to `views.FEW` examples: candidates without
views and candidates with them, the better by cross-validation. Differences are paired, each less `none`.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from adapters import modalities, tasks
from adapters.modalities import NONE, image
from adapters.runtime.onnx import processor
from adapters.training import programs
from adapters.training.data.split import Split, split
from adapters.training.embedding.views import no_views
from adapters.training.race.race import race
from adapters.types import Embeddings, Indices
from benchmarks import adaptation, datasets, options, record

DATA = ("weather", "cells", "digits", "omniglot")
SEEDS = 5
SHOTS = ("1", "2", "5", "10", "50")
RACE = "race"
Row = dict[str, Any]


def main() -> dict[str, Any]:
    """Measure everything and print; returns the results."""
    return results(measure(DATA, SEEDS, SHOTS))


def measure(names: Sequence[str], seeds: int, shots: Sequence[str]) -> list[Row]:
    """Measure and print; a row for each choice of views, seed, number of shots and data set."""
    torch.set_num_threads(max(1, processor.cores() // 2))  # as the worker has it
    rows: list[Row] = []
    for name in names:
        data, views = datasets.load(name), datasets.load_views(name)
        for count in shots:
            for seed in range(seeds):
                rows += _round(name, *data, views, count, seed)
            _show(name, count, rows)
    return rows


def _round(
    name: str,
    embeddings: Embeddings,
    targets: Indices,
    groups: Indices,
    views: Mapping[str, Embeddings],
    count: str,
    seed: int,
) -> list[Row]:
    """Every choice once, on the same examples."""
    train, test = adaptation.drawn(targets, groups, count, np.random.default_rng(seed))
    if train is None:
        return []
    x, offered = embeddings[train], modalities.views(image)
    each = {NONE: no_views(x)} | {name: np.stack([views[v][train] for v in chosen]) for name, chosen in offered.items()}
    contestants = {choice: {choice: rows} for choice, rows in each.items()}
    if count != "1":  # nothing to compare with
        contestants[RACE] = {choice: each[choice] for choice in (NONE, next(iter(offered)))}
    parts = _parts(targets[train], groups[train])
    found = []
    for contestant, choices in contestants.items():
        began = time.perf_counter()
        result = _raced(x, targets[train], parts, choices)
        seconds = time.perf_counter() - began
        said = programs.run(result.program, embeddings[test])
        row = {"data": name, "shots": count, "seed": seed, "views": contestant, "examples": len(train)}
        row |= {"accuracy": float((said.argmax(axis=1) == targets[test]).mean()), "seconds": seconds}
        found.append(row | {"log_loss": adaptation.log_loss(said, targets[test]), "won": result.views})
    return found


def _parts(targets: Indices, groups: Indices) -> Split:
    nothing: list[Any] = [None] * len(targets)
    if np.bincount(targets).min() > 1:
        return adaptation.all_of(split(targets, groups, nothing, nothing, 0))
    none = np.zeros(0, np.int64)
    return Split(np.arange(len(targets)), none, none, [], "cross-validation", "one example a class")


def _raced(x: Embeddings, targets: Indices, parts: Split, choices: Mapping[str, Embeddings]) -> Any:
    classes, task = [str(k) for k in range(int(targets.max()) + 1)], tasks.get("classification")
    return race(x, {"class": targets}, classes, parts, task, "auto", {}, 0, lambda _: None, lambda: None, None, choices)


def _differences(rows: list[Row], views: str, figure: str) -> np.ndarray:
    """A choice less no views, data set by data set, shots by shots and seed by seed."""
    table = {(r["data"], r["shots"], r["seed"], r["views"]): r[figure] for r in rows}
    return np.array([v - table[*key[:3], NONE] for key, v in table.items() if key[3] == views])


def _show(name: str, count: str, rows: list[Row]) -> None:
    here = [r for r in rows if (r["data"], r["shots"]) == (name, count)]
    for views in dict.fromkeys(r["views"] for r in here):
        mine = [r for r in here if r["views"] == views]
        accuracy, loss, seconds = (np.mean([r[f] for r in mine]) for f in ("accuracy", "log_loss", "seconds"))
        text = f"  {name:9} {count:>3} {views:6} {accuracy:.4f} {loss:7.3f} {seconds:6.2f} s"
        if views != NONE:
            gains = (_interval(_differences(here, views, figure)) for figure in ("accuracy", "log_loss"))
            won = Counter(r["won"] for r in mine if views == RACE)
            text += "  accuracy {}, log-loss {}  {}".format(*gains, dict(won) if won else "")
        print(text, flush=True)


def _interval(differences: np.ndarray) -> str:
    half = 1.96 * differences.std(ddof=1) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    return f"{differences.mean():+.4f} ± {half:.4f}"


def results(rows: list[Row]) -> dict[str, Any]:
    """Rows → what is recorded: figures of each choice, and paired differences by seed."""
    found: dict[str, Any] = {"notes": _notes(rows)}
    for name, count, views in dict.fromkeys((r["data"], r["shots"], r["views"]) for r in rows):
        here = [r for r in rows if (r["data"], r["shots"]) == (name, count)]
        mine = [r for r in here if r["views"] == views]
        for figure in ("accuracy", "log_loss", "seconds"):
            found[f"{name}, {count}, {views}: {figure}"] = record.spread([r[figure] for r in mine])
        if views != NONE:
            pairs = _differences(here, views, "accuracy")
            found[f"{name}, {count}, {views}: accuracy less that of none"] = record.spread(pairs.tolist())
    return found


def _notes(rows: list[Row]) -> dict[str, str]:
    notes = {}
    for views in dict.fromkeys(r["views"] for r in rows if r["views"] != NONE):
        accuracy, loss = (_differences(rows, views, figure) for figure in ("accuracy", "log_loss"))
        notes[f"{views} less none, all together"] = f"accuracy {_interval(accuracy)}, log-loss {_interval(loss)}"
    return notes


if __name__ == "__main__":
    print(_notes(measure(*options.rounds(__doc__, options.Rounds(DATA, SEEDS, SHOTS)))))
