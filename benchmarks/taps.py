"""What taps bring: the same races with heads that read `pooled` alone, all of an embedding, or what the race decides.

    python -m benchmarks taps                 # everything, recorded: twenty minutes
    python -m benchmarks.taps [--data weather gtsrb] [--seeds 2] [--shots 2 5 10 50 full]

A third of each data set, whole groups of near-duplicates, is the test set of a seed; `shots` examples of each class of
the rest are trained on (of whole photos of blood, which have labels and counts, so many in all), with the default
budget. Differences are paired: same training examples, same test examples. `generous` runs the same with a budget of 60
seconds, to show what the default misses.
"""

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from adapters import tasks
from adapters.arrays import take
from adapters.backbones.parts import POOLED, TAPS
from adapters.runtime.onnx import processor
from adapters.training import programs
from adapters.training.data.split import Split, split
from adapters.training.race.race import race
from adapters.types import Embeddings, Fitted, Indices, Schema
from benchmarks import cells, datasets, options, record
from benchmarks.adaptation import all_of, drawn

CLASSES = ("weather", "digits", "cells", "platelets", "omniglot", "gtsrb")
BLOOD = {"blood, labels": "multilabel", "blood, counts": "regression"}  # bccd whole
DATA = (*CLASSES, *BLOOD)
SEEDS = 10
SHOTS = ("2", "5", "10", "50", "full")
EACH = {"2": 10, "5": 20, "10": 50, "50": 100, "full": 0}  # photos of blood in all; 0: all of the rest
LENGTHS = {TAPS: 3464, POOLED: datasets.POOLED}
READS = {"pooled": {POOLED: LENGTHS[POOLED]}, "taps": {TAPS: LENGTHS[TAPS]}, "auto": LENGTHS, "generous": LENGTHS}
GENEROUS = 60.0  # seconds of budget
GENEROUS_SEEDS = 3
FIGURES = ("accuracy", "loss", "ece", "seconds")
MANY = 20  # examples a class, from which on the goal for log-loss counts

Row = dict[str, Any]


def main() -> dict[str, Any]:
    """Measure everything and print; returns the results."""
    return results(measure(DATA, SEEDS, SHOTS))


def measure(names: Sequence[str], seeds: int, shots: Sequence[str]) -> list[Row]:
    """A row for each way to read, seed, number of shots and data set."""
    torch.set_num_threads(max(1, processor.cores() // 2))  # as the worker has it
    rows: list[Row] = []
    for name in names:
        for count in shots:
            for seed in range(seeds):
                rows += _round(name, count, seed)
            _show(name, count, rows)
    return rows


def _round(name: str, count: str, seed: int) -> Iterator[Row]:
    """Every way to read once, in random order."""
    random = np.random.default_rng(seed)
    task, x, y, groups = _data(name)
    train, test = _drawn(name, y, groups, count, random)
    if train is None:
        return
    ways = [way for way in READS if way != "generous" or seed < GENEROUS_SEEDS]
    for way in random.permutation(ways).tolist():
        began = time.perf_counter()
        said, schema, won = _taught(task, x[train], y[train], groups[train], way, x[test])
        row = {"data": name, "shots": count, "seed": seed, "way": way, "examples": len(train), "won": won}
        yield row | _figures(task, said, y[test], y[train], schema) | {"seconds": time.perf_counter() - began}


def _data(name: str) -> tuple[str, Embeddings, Fitted, Indices]:
    """Task, embeddings f32 [N, E], targets and groups."""
    if name not in BLOOD:
        return ("classification", *datasets.load(name, taps=True))
    x, _, groups = datasets.load("platelets", taps=True)
    counts = cells.counts().astype(np.float32)
    return BLOOD[name], x, (counts > 0).astype(np.float32) if name == "blood, labels" else counts[:, :2], groups


def _drawn(
    name: str, targets: Fitted, groups: Indices, count: str, random: np.random.Generator
) -> tuple[Indices | None, Indices]:
    if name not in BLOOD:
        return drawn(targets, groups, count, random)
    rest, test = drawn(np.zeros(len(groups), np.int64), groups, "full", random)
    assert rest is not None
    return np.sort(random.permutation(rest)[: EACH[count] or None]), test


def _taught(
    name: str, x: Embeddings, y: Fitted, groups: Indices, way: str, asked: Embeddings
) -> tuple[np.ndarray, Schema, str]:
    """What a head says of what it was not taught, and the part of embeddings that it reads."""
    task = tasks.get(name)
    classes = [str(k) for k in range(int(y.max()) + 1 if y.ndim == 1 else y.shape[1])]
    budget = GENEROUS if way == "generous" else None
    targets = {cells.TOLD[name]: y}
    result = race(
        x, targets, classes, _parts(task.strata(targets), groups), task, "auto", {}, 0, lambda _: None, lambda: None,
        budget, lengths=READS[way],
    )  # fmt: skip
    schema = Schema(tuple(classes), task.decide(result.outputs, take(targets, result.index), classes))
    return programs.run(result.program, asked), schema, result.source.reads


def _parts(strata: Indices, groups: Indices) -> Split:
    nothing: list[Any] = [None] * len(strata)
    return all_of(split(strata, groups, nothing, nothing, 0))


def _figures(name: str, said: np.ndarray, truth: Fitted, taught: Fitted, schema: Schema) -> dict[str, float]:
    """Accuracy, loss and calibration error; of labels mean average precision, of numbers the share explained."""
    task = tasks.get(name)
    if name == "regression":
        spread = taught.std(axis=0)
        error = float(np.square((said - truth) / spread).mean())
        return {"accuracy": 1 - error, "loss": error, "ece": math.nan}
    found = task.metrics(task.answers(said), {cells.TOLD[name]: truth}, schema)
    if name == "multilabel":
        return {"accuracy": found["mean_average_precision"], "loss": found["log_loss"], "ece": math.nan}
    return {"accuracy": found["accuracy"], "loss": found["log_loss"], "ece": found["ece"]}


def pairs(rows: Sequence[Row], figure: str, way: str, against: str, **where: Any) -> np.ndarray:
    """One way less another, seed by seed."""
    chosen = [r for r in rows if all(r[k] == v for k, v in where.items())]
    table = {(r["data"], r["shots"], r["seed"], r["way"]): r[figure] for r in chosen}
    keys = [key[:3] for key in table if key[3] == way and (*key[:3], against) in table]
    return np.array([table[*k, way] - table[*k, against] for k in sorted(keys)])


def interval(differences: np.ndarray) -> str:
    """The mean paired difference and its 95 % interval over seeds; of one seed there is none."""
    if len(differences) < 2:
        return f"{differences.mean():+.4f}"
    half = 1.96 * differences.std(ddof=1) / len(differences) ** 0.5
    return f"{differences.mean():+.4f} ± {half:.4f}"


def _show(name: str, count: str, rows: Sequence[Row]) -> None:
    here = [r for r in rows if (r["data"], r["shots"]) == (name, count)]
    for way in READS:
        mine = [r for r in here if r["way"] == way]
        if mine:
            figures = " ".join(f"{f} {np.mean([r[f] for r in mine]):.4f}" for f in FIGURES)
            read = sum(r["won"] == TAPS for r in mine)
            against = "" if way == "pooled" else f"loss {interval(pairs(here, 'loss', way, 'pooled'))}"
            print(f"  {name:14} {count:>5} {way:9} {figures}  {read}/{len(mine)} taps  {against}", flush=True)


def results(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows → what is recorded: figures of each way, and paired differences to `pooled`, by data set and shots."""
    found: dict[str, Any] = {"notes": _notes(rows)}
    for name, count in dict.fromkeys((r["data"], r["shots"]) for r in rows):
        here = [r for r in rows if (r["data"], r["shots"]) == (name, count)]
        for way in READS:
            mine = [r for r in here if r["way"] == way]
            figures: dict[str, list[float]] = {f: [r[f] for r in mine if not math.isnan(r[f])] for f in FIGURES}
            if way != "pooled":
                for figure in ("accuracy", "loss"):
                    less = pairs(here, figure, way, "pooled")
                    figures[f"{figure}, less pooled's ({interval(less)})"] = less.tolist()
            found |= {f"{name}, {count}, {way}: {f}": record.spread(v) for f, v in figures.items() if v}
    return found


def _notes(rows: Sequence[Row]) -> dict[str, str]:
    many = [r for r in rows if r["data"] in CLASSES and (r["shots"] == "50" or _each(r) >= MANY)]
    ratio = {way: _ratio(many, way) for way in ("taps", "auto")}
    same = [r for r in rows if r["seed"] < GENEROUS_SEEDS]
    classes = [r for r in same if r["data"] in CLASSES]
    default, generous = (np.mean([r["loss"] for r in same if r["way"] == way]) for way in ("auto", "generous"))
    return {
        f"classification, {MANY} a class or more: loss of auto": f"{ratio['auto']:.3f} of pooled's, geometric mean",
        f"classification, {MANY} a class or more: loss of taps alone": f"{ratio['taps']:.3f} of pooled's",
        "mean loss with the default budget": f"{default / generous:.4f} of that with {GENEROUS:.0f} s, all data",
        "loss with the default budget": f"{_ratio(classes, 'auto', 'generous'):.4f} of that with {GENEROUS:.0f} s, "
        "classification, geometric mean, each data set and number of shots alike",
        "worse than pooled beyond noise": ", ".join(_worse(rows)) or "nowhere",
    }


def _each(row: Row) -> float:
    """Training examples a class."""
    return float(row["examples"]) / (int(_data(row["data"])[2].max()) + 1)


def _ratio(rows: Sequence[Row], way: str, against: str = "pooled") -> float:
    """The geometric mean over data sets and shots of mean losses against those of another way."""
    logs = []
    for key in dict.fromkeys((r["data"], r["shots"]) for r in rows):
        here = [r for r in rows if (r["data"], r["shots"]) == key]
        mine, theirs = (np.mean([r["loss"] for r in here if r["way"] == w]) for w in (way, against))
        logs.append(math.log(mine / theirs))
    return math.exp(float(np.mean(logs)))


def _worse(rows: Sequence[Row]) -> Iterator[str]:
    """Where `auto` loses to `pooled` with an interval that leaves zero out."""
    for name, count in dict.fromkeys((r["data"], r["shots"]) for r in rows):
        for figure, sign in (("accuracy", 1), ("loss", -1)):
            less = sign * pairs(rows, figure, "auto", "pooled", data=name, shots=count)
            if len(less) > 1 and less.mean() + 1.96 * less.std(ddof=1) / len(less) ** 0.5 < 0:
                yield f"{name}, {count}: {figure} {interval(sign * less)}"


if __name__ == "__main__":
    record.show({"notes": results(measure(*options.rounds(__doc__, options.Rounds(DATA, SEEDS, SHOTS))))["notes"]})
