"""How far confidence is from accuracy: `auto` beside a tuned LogisticRegressionCV, 20 to 200 examples a class, paired.

    python -m benchmarks ece                    # everything, recorded; OMP_NUM_THREADS=1 where something runs beside
    python -m benchmarks.ece [--data weather digits] [--seeds 2] [--shots 20 50 100 200]

Rounds are those of `adaptation`: a third of each data set is the test set of a seed, both are fitted to the same
examples and answer the same test images. The peer tunes 7 C over 3 folds by log-loss, and is given `pooled`, as a
notebook would have it, and once more all of an embedding. ECE has 15 bins of one width. Intervals are of 95 %; each
data set and number of examples counts alike. Goal: ECE not above the peer's beyond noise, and log-loss below.
"""

import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from adapters.figures import ece
from adapters.types import Embeddings, Indices
from benchmarks import adaptation, datasets, options, record

DATA, SEEDS, SHOTS = ("weather", "digits", "cells", "platelets", "gtsrb", "omniglot"), 20, ("20", "50", "100", "200")
PEER = "LogisticRegressionCV"
PEERS = (PEER, f"{PEER}{adaptation.WITH_TAPS}")
WAYS = ("auto", *PEERS)
FIGURES = ("ece", "log_loss", "accuracy", "seconds")

Row = dict[str, Any]


def main() -> dict[str, Any]:
    """Measure everything and print; returns the results."""
    return results(measure(DATA, SEEDS, SHOTS))


def measure(names: Sequence[str], seeds: int, shots: Sequence[str]) -> list[Row]:
    """Measure and print; a row for each of both, seed, number of shots and data set."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in names:
        data = datasets.load(name, taps=True)
        for count in shots:
            here = [row for seed in range(seeds) for row in _round(*data, count, seed)]
            rows += [row | {"data": name, "shots": count} for row in here]
            for peer in PEERS if here else ():
                print(f"  {name:10} {count:>4}  less {peer}: {_told([_differences(here, peer)])}", flush=True)
    for peer in PEERS:
        print(f"  all less {peer}: {_told(_cells(rows, peer))}", flush=True)
    return rows


def _round(x: Embeddings, targets: Indices, groups: Indices, count: str, seed: int) -> Iterator[Row]:
    train, test = adaptation.drawn(targets, groups, count, np.random.default_rng(seed))
    if train is None:  # classes are smaller than that
        return
    for way in WAYS:
        fit = adaptation._auto if way == "auto" else adaptation.PEERS[PEER]
        seen = x[:, : datasets.POOLED] if way == PEER else x
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the peer says of convergence
            answers = fit(seen[train], targets[train], groups[train])[0](seen[test])
        yield {"seed": seed, "way": way, "seconds": time.perf_counter() - began} | _figures(answers, targets[test])


def _figures(answers: np.ndarray, truth: Indices) -> dict[str, float]:
    right = answers.argmax(axis=1) == truth
    loss = adaptation.log_loss(answers, truth)
    return {"ece": ece(answers.max(axis=1), right), "log_loss": loss, "accuracy": float(right.mean())}


def _differences(rows: Sequence[Row], peer: str) -> dict[str, np.ndarray]:
    """auto less the peer, seed by seed."""
    mine, theirs = ([r for r in rows if r["way"] == way] for way in ("auto", peer))
    return {f: np.array([a[f] - b[f] for a, b in zip(mine, theirs, strict=True)]) for f in FIGURES}


def _cells(rows: Sequence[Row], peer: str) -> list[dict[str, np.ndarray]]:
    return [_differences([r for r in rows if (r["data"], r["shots"]) == key], peer) for key in _keys(rows)]


def _told(cells: Sequence[dict[str, np.ndarray]]) -> str:
    """Mean differences over cells, each with half of its 95 % interval."""
    told = []
    for figure in FIGURES[:3]:
        mean = np.mean([cell[figure].mean() for cell in cells])
        spread = [cell[figure].var(ddof=1) / len(cell[figure]) for cell in cells if len(cell[figure]) > 1]
        told.append(f"{figure} {mean:+.4f} ± {1.96 * np.sum(spread) ** 0.5 / len(cells):.4f}")
    return ", ".join(told)


def results(rows: Sequence[Row]) -> dict[str, Any]:
    """Rows → what is recorded: figures of each, and paired differences."""
    means = {way: np.mean([_mean(rows, way, cell) for cell in _keys(rows)]) for way in WAYS}
    notes = {"ECE": ", ".join(f"{mean:.4f} of {way}" for way, mean in means.items())}
    for peer in PEERS:
        notes[f"auto less {peer}, each data set and number of examples alike"] = _told(_cells(rows, peer))
        cells = zip(_keys(rows), _cells(rows, peer), strict=True)
        worse = [f"{name}, {count}" for (name, count), cell in cells if _above(cell)]
        notes[f"ECE above that of {peer} beyond noise"] = ", ".join(worse) or "nowhere"
    found: dict[str, Any] = {"notes": notes}
    for name, count in _keys(rows):
        here = [r for r in rows if (r["data"], r["shots"]) == (name, count)]
        for way in WAYS:
            mine = [r for r in here if r["way"] == way]
            found |= {f"{name}, {count}, {way}: {f}": record.spread([r[f] for r in mine]) for f in FIGURES}
    return found


def _keys(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return list(dict.fromkeys((r["data"], r["shots"]) for r in rows))


def _mean(rows: Sequence[Row], way: str, cell: tuple[str, str]) -> float:
    return float(np.mean([r["ece"] for r in rows if (r["data"], r["shots"]) == cell and r["way"] == way]))


def _above(cell: dict[str, np.ndarray]) -> bool:
    less = cell["ece"]
    return len(less) > 1 and bool(less.mean() > 1.96 * less.std(ddof=1) / len(less) ** 0.5)


if __name__ == "__main__":
    measure(*options.rounds(__doc__, options.Rounds(DATA, SEEDS, SHOTS)))
