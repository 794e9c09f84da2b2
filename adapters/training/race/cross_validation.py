"""Cross-validation of a race: candidates are fitted to the same folds, and measured on what they did not see."""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from itertools import chain, product, repeat
from typing import Any

import numpy as np
import torch

from adapters import methods
from adapters.fitting.inputs import Inputs
from adapters.methods import LeavesOut, Regime, Setting
from adapters.pools import Pool
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.data.split import Fold, Split
from adapters.training.embedding.views import Choices, Rows, Source
from adapters.training.race import objectives
from adapters.training.race.candidates import Candidate, Entry, Row
from adapters.types import Embeddings, Floats, HeadProgram, Indices, Step, Targets

SHARED_FROM = 300  # training examples a fold: from here folds share the standardisation and the eigenbasis of all
PRUNE_FROM = 300  # training examples: below it all candidates run all folds, which costs little and is noisier
SURVIVORS = 3  # candidates that run every fold
MAX_LANES = 4  # fits at a time: each has its own copies of the inputs

_Fitted = list[tuple[Candidate, HeadProgram, Floats, float]]  # with what it says of the unseen, and its seconds


class Data:
    """The examples of a race. Those of the test set lend nothing, not even to a mean."""

    def __init__(
        self,
        embeddings: Embeddings,
        choices: Choices,
        lengths: Mapping[str, int],
        targets: Targets,
        classes: int,
        split: Split,
        task: Task,
    ) -> None:
        self.objective, self.goal = task.OBJECTIVE, objectives.get(task.OBJECTIVE)
        rest = split.rest
        scaled, back = self.goal.scaled(task.fitted(targets), rest)
        self.finish: tuple[Step, ...] = (*back, *task.output_steps())  # after calibration
        self.answers = task.answers  # from the last step's output
        self.truth = scaled  # i64 [N] or f32 [N, K]
        device = programs.device()
        self.embeddings = torch.from_numpy(embeddings).to(device)  # f32 [N, E], what serving sees
        self.targets = torch.from_numpy(scaled)  # on the CPU
        self.classes = classes
        self.lengths = lengths
        self.rest = rest
        self.groups = split.groups[rest] if len(split.groups) else rest  # of near-duplicates
        looks = {name: torch.from_numpy(views).to(device) for name, views in choices.items()}
        self.rows = {
            Source(name, part): Rows(self.embeddings[:, :length], views[..., :length], rest)
            for name, views in looks.items()
            for part, length in lengths.items()
        }

    @property
    def regimes(self) -> dict[Source, Regime]:
        """What methods may know of each source; an example is as many as it has rows."""
        counts = self.goal.counts(self.truth[self.rest], self.classes)
        spread = (int(counts.min()), float(np.median(counts)), int(counts.max()))
        return {
            source: Regime(
                len(self.rest) * rows.each, self.lengths[source.reads], self.classes, *spread, self.objective
            )
            for source, rows in self.rows.items()
        }

    def fitted_on(self, index: Indices, source: Source) -> tuple[Inputs, torch.Tensor]:
        """Some of the rest to fit on, and targets. Where rows are many, their forms are made from all of the rest."""
        rows = self.rows[source]
        targets = rows.repeated(self.targets[torch.from_numpy(index)]).to(self.embeddings.device)
        if len(index) == len(self.rest):
            return rows.rest, targets
        if len(index) * rows.each < SHARED_FROM:
            return rows.apart(index), targets
        return rows.among(index), targets

    def in_place(self, index: Indices, source: Source) -> tuple[Inputs, torch.Tensor]:
        """Any of the examples for one fit, in the memory of one copy; what fits have shared until now is let go of."""
        for rows in self.rows.values():
            rows.forget()
        rows = self.rows[source]
        targets = rows.repeated(self.targets[torch.from_numpy(index)]).to(self.embeddings.device)
        return rows.in_place(index), targets

    def left_out(self, method: LeavesOut, settings: list[Setting], source: Source) -> list[float]:
        """The error of each setting over all of the rest, each example left out with its group: see `LeavesOut`."""
        inputs, targets = self.fitted_on(self.rest, source)
        groups = self.rows[source].repeated(torch.from_numpy(self.groups)).to(self.embeddings.device)
        return method.left_out(inputs, groups, targets, self.classes, settings, self.objective)

    def fold(self, fold: Fold) -> "Seen":
        """One fold, to fit on: views of what is measured on are in neither part."""
        train, val = fold
        return Seen(self, train, self.embeddings[torch.from_numpy(val).to(self.embeddings.device)])


class Seen:
    """A fold: what candidates may be fitted to, each source made when first asked for; safe for threads."""

    def __init__(self, data: Data, train: Indices, unseen: torch.Tensor) -> None:
        self.unseen = unseen  # f32 [M, E]
        self._data, self._train = data, train
        self._made: dict[Source, tuple[Inputs, torch.Tensor]] = {}
        self._making = threading.Lock()

    def fitted_on(self, source: Source) -> tuple[Inputs, torch.Tensor]:
        """Inputs, and targets i64 [M] or f32 [M, K]."""
        with self._making:
            if source not in self._made:
                self._made[source] = self._data.fitted_on(self._train, source)
            return self._made[source]


def run(data: Data, split: Split, entry: Entry, seed: int, cancelled: Callable[[], None]) -> list[Candidate]:
    """Both rounds of candidates on the first fold, and those that still may win on the others; all that took part.

    Each fit begins at zero: where a fit begins is forgotten only by one that goes to the very end, and the fold before
    has seen these answers (tried: it turned 98.8 % into 99.9 %). So fits do not depend on one another, and run beside
    one another where torch leaves cores free.
    """
    first, *later = split.folds
    many = len(first[0]) >= PRUNE_FROM

    def fit(fold: Seen, together: list[Candidate]) -> _Fitted:
        cancelled()
        return _fit_fold(fold, data, together, seed, cancelled)

    def fit_all(fold: Fold, candidates: list[Candidate]) -> _Fitted:
        seen = data.fold(fold)  # its copies go with it
        return [fitted for together in _together(candidates) for fitted in fit(seen, together)]

    with Pool(_lanes()) as lanes:
        begun = [data.fold(fold) for fold in (split.folds[:1] if many else split.folds)]

        def ran(candidates: list[Candidate]) -> list[Candidate]:
            tasks = product(begun, _together(candidates))
            _keep(lanes.map(fit, *zip(*tasks, strict=True)) if candidates else [])
            return _measured(candidates, split, data)

        candidates = ran(entry.first())
        candidates += ran(entry.second(candidates))
        if many:
            _keep(lanes.map(fit_all, later, repeat(_survivors(candidates))))
    return candidates


def _measured(candidates: list[Candidate], split: Split, data: Data) -> list[Candidate]:
    for candidate in candidates:
        candidate.row = measure(candidate, split, data)
    return candidates


def _lanes() -> int:
    """Fits at a time. Threads of torch's own are quicker alone, but spin while they wait and starve beside a server."""
    free = len(os.sched_getaffinity(0)) if torch.get_num_threads() == 1 and programs.device().type == "cpu" else 1
    return min(free, MAX_LANES)


def _together(candidates: list[Candidate]) -> list[list[Candidate]]:
    """Those of one method on the same inputs are solved together.

    First one of each inputs: making these takes most of the time, and lanes that wait for the same ones lose it.
    """
    alike: dict[tuple[int, str, Any], list[Candidate]] = {}
    users: dict[Any, list[str]] = {}
    for candidate in candidates:
        mine = users.setdefault(candidate.inputs, [])
        mine += [] if candidate.method in mine else [candidate.method]
        alike.setdefault((mine.index(candidate.method), candidate.method, candidate.inputs), []).append(candidate)
    return [alike[key] for key in sorted(alike, key=lambda key: key[0])]


def _fit_fold(fold: Seen, data: Data, candidates: list[Candidate], seed: int, cancelled: Callable[[], None]) -> _Fitted:
    """Fit candidates together; what they say of examples that they did not see, and the seconds of each."""
    began = time.perf_counter()
    settings = [candidate.setting for candidate in candidates]
    method = methods.get(candidates[0].method)
    inputs, targets = fold.fitted_on(candidates[0].source)
    fitted = method.fit(inputs, targets, data.classes, settings, seed, cancelled, objective=data.objective)
    raw = programs.run_all(fitted, fold.unseen)
    share = (time.perf_counter() - began) / len(candidates)
    return [(c, program, said, share) for c, program, said in zip(candidates, fitted, raw, strict=True)]


def _keep(fits: Iterable[_Fitted]) -> None:
    for candidate, program, raw, seconds in chain.from_iterable(fits):
        candidate.folds.append(raw)
        candidate.program = program
        candidate.seconds += seconds


def _survivors(candidates: list[Candidate]) -> list[Candidate]:
    """The best few of the first fold: a candidate far behind on a fifth of the data does not win on all of it.

    Racing as in Maron & Moore (1994), with one cut: it is what makes five folds cost about two.
    """
    best = sorted(candidates, key=lambda candidate: candidate.row["loss"])[:SURVIVORS]
    return [candidate for candidate in candidates if candidate in best]


def measure(candidate: Candidate, split: Split, data: Data) -> Row:
    """The figures of one candidate on the folds that it ran, after a calibration of its own."""
    raw = np.concatenate(candidate.folds)
    targets = data.truth[np.concatenate([val for _, val in split.folds[: len(candidate.folds)]])]
    candidate.calibration = data.goal.calibrate(raw, targets)
    calibrated = programs.run(HeadProgram(candidate.calibration.steps), raw)
    losses = data.goal.losses(calibrated, targets)
    return {
        "method": candidate.method,
        "hyperparameters": candidate.setting,
        "views": candidate.source.views,
        "reads": candidate.source.reads,
        "loss": float(losses.mean()),
        "standard_error": float(losses.std() / max(len(losses), 1) ** 0.5),
        **data.goal.score(calibrated, targets),
        "folds": len(candidate.folds),
        "seconds": round(candidate.seconds, 4),
    }
