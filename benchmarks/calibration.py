"""How sure heads should be: the temperature that races set, and others, by log-loss and calibration error (ADR 11).

    python -m benchmarks.calibration [--data weather digits] [--shots 5 20 full] [--seeds 20]

A race a data set, number of shots and seed; every way calibrates the same head, from the same out-of-fold logits, and
answers the same test images, a third of the data. Differences are paired, against `platt`: the temperature that fits
the winner's out-of-fold logits with Platt's targets. The intervals are of 95 %; over several cells (data set and shots)
each cell counts alike.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
import torch

from adapters import tasks
from adapters.figures import ece
from adapters.fitting import shrinkage
from adapters.methods import ridge
from adapters.training import programs
from adapters.training.data.split import Split, split
from adapters.training.race import cross_validation, race
from adapters.training.race.candidates import Candidate
from adapters.training.race.cross_validation import Data
from adapters.training.trust.calibrate import FEW, _of_the_unseen, correction, temperature
from adapters.types import Embeddings, Floats, HeadProgram, Indices
from benchmarks import datasets, options, record
from benchmarks.adaptation import all_of, drawn, log_loss

DATA, SEEDS = ("weather", "digits", "cells", "platelets", "gtsrb", "omniglot"), 20
SHOTS = ("2", "3", "5", "10", "20", "50", "100", "200", "full")
PARTS = {"taps": 3464, "pooled": datasets.POOLED}
FIGURES = ("log-loss", "ece", "adaptive ece", "excess", "accuracy")  # excess: mean confidence less accuracy
EQUAL_BINS = 10  # of as many answers each: fewer than the 15 of one width, so that none is nearly empty
HELD, ROUNDS = 10.0, 300  # precision of the prior of a class's own shift; steps that find it
SHARES = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)  # of a uniform answer mixed in
REGIMES = {"2-3": ("2", "3"), "5-10": ("5", "10"), "20-200": ("20", "50", "100", "200"), "full": ("full",)}

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Raced:
    """What a race leaves to calibrate by, and its head's raw logits of the test images."""

    folds: list[Floats]  # the winner's out-of-fold logits
    rivals: list[list[Floats]]  # those of candidates that may have won, each over its temperature
    targets: list[Indices]  # of each fold
    chosen: float  # the temperature that the race sets for fits to folds
    carried: float  # spread of the final fit's logits over that of a fold's fit
    said: Floats  # [M, K], of test images
    averaged: Floats  # [M, K], the mean of that and what the fits to folds say
    left_out: Floats | None  # [N, K] in order of the folds: ridge's, each example left out of all
    truth: Indices  # [M]

    @property
    def rows(self) -> Floats:
        """The winner's out-of-fold logits [N, K]."""
        return np.concatenate(self.folds)

    @property
    def labels(self) -> Indices:
        """Their targets [N]."""
        return np.concatenate(self.targets)


def main() -> dict[str, Any]:
    """Measure everything and print; returns the results."""
    return results(measure(DATA, SEEDS, SHOTS))


def measure(names: Sequence[str], seeds: int, shots: Sequence[str]) -> list[Row]:
    """Measure and print; a row for each way, seed, number of shots and data set."""
    torch.set_num_threads(1)
    rows: list[Row] = []
    for name in names:
        data = datasets.load(name, taps=True)
        for count in shots:
            for seed in range(seeds):
                rows += _round(name, *data, count, seed)
            here = [r for r in rows if (r["data"], r["shots"]) == (name, count)]
            show(f"{name}, {count}", here)
    for regime, counts in (REGIMES | {"all": tuple(shots)}).items():
        show(regime, [r for r in rows if r["shots"] in counts])
    return rows


def _round(name: str, x: Embeddings, targets: Indices, groups: Indices, count: str, seed: int) -> list[Row]:
    train, test = drawn(targets, groups, count, np.random.default_rng(seed))
    if train is None:
        return []
    raced, about = _raced(x, targets, groups, train, test)
    about |= {"data": name, "shots": count, "seed": seed}
    return [about | {"way": way, **_figures(answer(raced), raced.truth)} for way, answer in WAYS.items()]


def _figures(answers: Floats, truth: Indices) -> dict[str, float]:
    surest, right = answers.max(axis=1), answers.argmax(axis=1) == truth
    gaps = [(surest - right)[part].sum() for part in np.array_split(np.argsort(surest, kind="stable"), EQUAL_BINS)]
    adaptive, excess = float(np.abs(gaps).sum() / len(truth)), float((surest - right).mean())
    found = (log_loss(answers, truth), ece(surest, right), adaptive, excess, float(right.mean()))
    return dict(zip(FIGURES, found, strict=True))


def _raced(x: Embeddings, targets: Indices, groups: Indices, train: Indices, test: Indices) -> tuple[Raced, Row]:
    """One race as the product runs it, and what it had in hand when it set the temperature."""
    calibration, keep_only = race._calibration, cross_validation._keep
    nothing, classes = [None] * len(train), [str(k) for k in range(int(targets.max()) + 1)]
    parts, silent = all_of(split(targets[train], groups[train], nothing, nothing, 0)), lambda *_: None
    fitted: dict[int, list[HeadProgram]] = {}  # by candidate: the fits to its folds

    def keep(fits: Iterable[Any]) -> None:
        kept = [fit for together in fits for fit in together]
        for candidate, program, _, _ in kept:
            fitted.setdefault(id(candidate), []).append(program)
        keep_only([kept])

    with (
        patch.object(race, "_calibration", wraps=calibration) as asked,
        patch.object(cross_validation, "_keep", keep),
    ):
        task = tasks.get("classification")
        result = race.race(
            x[train], {"class": targets[train]}, classes, parts, task, "auto", {}, 0, silent, silent, lengths=PARTS
        )
    seen: tuple[Candidate, list[Candidate], Data, Split] = asked.call_args_list[0].args
    winner, finished, data, _ = seen
    heat = float(calibration(*seen).facts["temperature"])
    said = programs.run(HeadProgram(result.uncalibrated.steps[:-1]), x[test])
    fits = [programs.run(fit, x[test]) for fit in fitted[id(winner)]]
    best = sorted(finished, key=lambda candidate: candidate.row["loss"])[: race.RIVALS]
    rivals, truths = [race._calibrated(rival) for rival in best], [targets[train][val] for _, val in parts.folds]
    order = np.concatenate([val for _, val in parts.folds])
    left_out = _left_out(data, winner)
    found = Raced(
        winner.folds, rivals, truths, heat, result.calibration["temperature"] / heat, said,
        (np.sum(fits, axis=0) + said) / (len(fits) + 1), None if left_out is None else left_out[order], targets[test],
    )  # fmt: skip
    return found, {"method": winner.method, "examples": len(train)}


def _left_out(data: Data, winner: Candidate) -> Floats | None:
    """What ridge says of each of all examples when fitted without it and its near-copies, [N, K]."""
    inputs, targets = data.fitted_on(data.rest, winner.source)
    groups = data.rows[winner.source].repeated(torch.from_numpy(data.groups))
    if winner.method != "ridge" or int(groups.unique(return_counts=True)[1].max()) > ridge.MOST_TOGETHER:
        return None
    penalty = len(inputs) * inputs.embeddings.new_tensor([winner.setting["regularization"]])
    problem = ridge._Problem(inputs, ridge.FORMS[winner.setting["inputs"]], penalty)
    wanted = ridge._wanted(inputs, targets, data.classes, data.objective)
    weights, biases = problem.solve(wanted)
    (errors,) = problem.unseen(wanted - problem.answers(weights, biases), groups)
    factor = shrinkage.spread(problem.axes.rotated @ weights)
    return np.asarray(((wanted - errors) * factor).numpy(), np.float32)


def _platt(raced: Raced, sure: int = 1) -> float:
    """With every example as often as `sure`, Platt's targets are as much nearer to 0 and 1."""
    return temperature(np.tile(raced.rows, (sure, 1)), np.tile(raced.labels, sure))


def _best(raced: Raced) -> float:
    """The temperature that fits the test images best: out of reach, but it tells what there is to gain."""
    return temperature(np.tile(raced.said, (10, 1)), np.tile(raced.truth, 10))


def _in_full(raced: Raced, chosen: float) -> float:
    """A temperature whose correction counts for all that it says, however few the examples."""
    heat, count = _platt(raced), len(raced.labels)
    return float(heat * (chosen / heat) ** ((count + FEW) / count))


def _only_the_unseen(raced: Raced) -> float:
    return _platt(raced) * temperature(np.concatenate(_of_the_unseen(raced.rivals, raced.targets)), raced.labels)


def _by_leaving_out(raced: Raced) -> float:
    """The temperature of ridge's left-out logits in the place of that of the winner's out-of-fold ones."""
    if raced.left_out is None:
        return raced.chosen
    heat, ends = temperature(raced.left_out, raced.labels), np.cumsum([len(t) for t in raced.targets])[:-1]
    return heat * correction(np.split(raced.left_out / heat, ends), raced.rivals, raced.targets)


def _softmax(logits: np.ndarray) -> Floats:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True), dtype=np.float64)
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def _mixed(raced: Raced) -> Floats:
    """With as much of a uniform answer as lowers the loss of out-of-fold answers."""
    heat, count = _platt(raced, 10), raced.said.shape[1]
    seen, unseen = _softmax(raced.rows / heat), _softmax(raced.said / heat)
    share = min(SHARES, key=lambda e: log_loss((1 - e) * seen + e / count, raced.labels))
    return (1 - share) * unseen + share / count


def _shifted(raced: Raced) -> Floats:
    """Each class has a shift of its own besides, around zero by a Gaussian prior: majorised by a diagonal Hessian."""
    heat, shift = raced.chosen, np.zeros(raced.said.shape[1])
    given = np.bincount(raced.labels, minlength=len(shift))
    for _ in range(ROUNDS):
        expected = _softmax(raced.rows / heat + shift).sum(axis=0)
        shift += (given - expected - HELD * shift) / (expected + HELD)
    return _softmax(raced.said / (heat * raced.carried) + shift)


WAYS: dict[str, Callable[[Raced], Floats]] = {
    "platt": lambda raced: _softmax(raced.said / _platt(raced)),
    "half as smooth": lambda raced: _softmax(raced.said / _platt(raced, 2)),
    "tenth as smooth": lambda raced: _softmax(raced.said / _platt(raced, 10)),
    "carried over": lambda raced: _softmax(raced.said / (_platt(raced) * raced.carried)),
    "half, carried": lambda raced: _softmax(raced.said / (_platt(raced, 2) * raced.carried)),
    "corrected": lambda raced: _softmax(raced.said / raced.chosen),
    "now": lambda raced: _softmax(raced.said / (raced.chosen * raced.carried)),
    "now, in full": lambda raced: _softmax(raced.said / (_in_full(raced, raced.chosen) * raced.carried)),
    "unseen alone": lambda raced: _softmax(raced.said / (_only_the_unseen(raced) * raced.carried)),
    "now, left out": lambda raced: _softmax(raced.said / (_by_leaving_out(raced) * raced.carried)),
    "now, shifts": _shifted,
    "folds averaged": lambda raced: _softmax(raced.averaged / _platt(raced)),
    "mixed": _mixed,
    "best": lambda raced: _softmax(raced.said / _best(raced)),
}  # fmt: skip


def pairs(rows: list[Row], way: str, figure: str) -> list[np.ndarray]:
    """A way less `platt`, seed by seed: one array for each data set and number of shots."""
    cells: dict[tuple[str, str], dict[str, list[float]]] = {}
    for row in rows:
        cells.setdefault((row["data"], row["shots"]), {}).setdefault(row["way"], []).append(row[figure])
    return [np.array(cell[way]) - np.array(cell["platt"]) for cell in cells.values()]


def interval(cells: list[np.ndarray]) -> tuple[float, float]:
    """The mean over cells and half of its 95 % interval; a cell of one seed has no width of its own."""
    variances = [cell.var(ddof=1) / len(cell) for cell in cells if len(cell) > 1]
    return float(np.mean([cell.mean() for cell in cells])), float(1.96 * np.sum(variances) ** 0.5 / len(cells))


def show(title: str, rows: list[Row]) -> None:
    """One line for each way, against `platt`."""
    for way in WAYS if rows else ():
        mine = [r for r in rows if r["way"] == way]
        text = f"{title:14} {way:16}"
        for figure in FIGURES:
            mean, half = interval(pairs(rows, way, figure))
            text += f"  {figure} {np.mean([r[figure] for r in mine]):.4f} ({mean:+.4f} ± {half:.4f})"
        print(text, flush=True)


def results(rows: list[Row]) -> dict[str, Any]:
    """Rows → what is recorded: figures of each way, and paired differences by seed."""
    notes = {}
    for way in WAYS:
        gains = [f"{figure} {{:+.4f}} ± {{:.4f}}".format(*interval(pairs(rows, way, figure))) for figure in FIGURES]
        notes[f"{way} less platt, all together"] = ", ".join(gains)
    found: dict[str, Any] = {"notes": notes}
    for name, count, way in dict.fromkeys((r["data"], r["shots"], r["way"]) for r in rows):
        mine = [r for r in rows if (r["data"], r["shots"], r["way"]) == (name, count, way)]
        found |= {f"{name}, {count}, {way}: {figure}": record.spread([r[figure] for r in mine]) for figure in FIGURES}
    return found


if __name__ == "__main__":
    measure(*options.rounds(__doc__, options.Rounds(DATA, SEEDS, SHOTS)))
