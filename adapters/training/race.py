"""The race: every candidate is fitted on the same folds, the best by evidence is fitted again on all, calibrated.

Candidates are compared by the calibrated loss of the task's objective, not by accuracy: log-loss sees confidence as
well as decisions, so it tells candidates apart on few examples, and it is what calibration improves.
"""

import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import chain, repeat, zip_longest
from typing import Any

import numpy as np
import torch

from adapters import methods
from adapters.errors import InvalidHyperparameter, InvalidInput
from adapters.inputs import Inputs
from adapters.methods import Regime, Setting
from adapters.modalities import NONE
from adapters.tasks import Task
from adapters.training import objectives, programs
from adapters.training.objectives import Calibration
from adapters.training.split import Fold, Split
from adapters.training.views import Choices, Rows, no_views
from adapters.types import Embeddings, Floats, HeadProgram, Indices, Scale, Step, Targets

TIE = 0.05  # standard errors: of candidates this close to the best, the more regularised one is taken

SHARED_FROM = 300  # training examples a fold: from here folds share the standardisation and the eigenbasis of all
PRUNE_FROM = 300  # training examples: below it all candidates run all folds, which costs little and is noisier
SURVIVORS = 3  # candidates that run every fold
BUDGET, BUDGET_EACH = 0.7, 0.0006  # seconds by default, or so many a row: a fifteenth of what embedding it takes
SPEED = {"cpu": 2e10, "cuda": 2e12}  # operations a second, for estimates: a CPU core does no more on skinny products
LATER_FOLDS = 0.4  # of what the first fold costs
MAX_LANES = 4  # fits at a time: each has its own copies of the inputs
ON_TRUST = 5.0  # temperature of a head that nothing was measured of: what races with two examples a class find

Report = Callable[[dict[str, Any]], None]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class RaceResult:
    """The winner, ready to export, and the evidence."""

    program: HeadProgram  # embedding → the task's output
    uncalibrated: HeadProgram  # the same without calibration
    finish: int  # how many of the program's last steps are not the method's: calibration and the task's own
    method: str
    hyperparameters: Setting
    views: str  # what was trained on beside the examples
    table: list[Row]  # best first, ready for JSON: see `_measure`
    note: str  # what was tried, and what was not for want of time
    outputs: Floats  # [M, K], of the winner for `index`, from fits that had not seen them
    unscaled: Floats  # [M, K], the same without calibration
    index: Indices  # [M], positions in the data that the race was given
    calibration: dict[str, Any]  # ready for JSON
    seconds: float


@dataclass(slots=True, eq=False)
class _Candidate:
    method: str
    setting: Setting
    views: str
    folds: list[Floats] = field(default_factory=list)  # raw outputs [M, K] of each fold that it ran
    program: HeadProgram | None = None  # of the last fold: where the final fit may begin
    seconds: float = 0.0
    row: Row = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)


_Fitted = list[tuple[_Candidate, HeadProgram, Floats, float]]  # with what it says of the unseen, and its seconds


def race(
    embeddings: Embeddings,
    targets: Targets,
    classes: Sequence[str],
    split: Split,
    task: Task,
    method: str,
    hyperparameters: dict[str, Any],
    seed: int,
    report: Report,
    cancelled: Callable[[], None],
    budget: float | None = None,
    choices: Choices | None = None,
) -> RaceResult:
    """Choose and train a head on embeddings f32 [N, D] with the task's targets, [N] or [N, K].

    `method` is a name or "auto", which races every method that suits the data. `report` gets
    {"method", "done", "of", "rows"} for each method; `cancelled` is called often and raises Cancelled. `budget` is in
    estimated seconds of one core, so that the same data and seed give the same race on a busy machine. `choices` are
    the views of the examples that candidates may be trained on beside them, one choice each; without it there are none.
    Raises InvalidInput for a method that is unknown or cannot do the task, InvalidHyperparameter for what it does not
    take.
    """
    began = time.perf_counter()
    data = _Data(embeddings, choices or {NONE: no_views(embeddings)}, targets, len(classes), split.rest, task)
    regime = _regime(data, split)
    candidates, note = _entered(method, hyperparameters, regime, data.each, len(split.folds), budget)
    if not split.folds:
        return _unraced(data, split, candidates, seed, cancelled, began)
    _run(data, split, candidates, seed, cancelled)
    _tell(candidates, split, data, report)
    winner = _winner(candidates, len(split.folds))
    raw = np.concatenate(winner.folds)
    start = [winner.program] if winner.program else None
    program = _fit_final(data, winner, seed, cancelled, start)
    calibrated = winner.calibration.steps
    return RaceResult(
        program=program.then(*calibrated, *data.finish),
        uncalibrated=program.then(*data.finish),
        finish=len(calibrated) + len(data.finish),
        method=winner.method,
        hyperparameters=winner.setting,
        views=winner.views,
        table=sorted((c.row for c in candidates), key=lambda row: (-row["folds"], row["loss"])),
        note=note,
        outputs=programs.run(HeadProgram((*calibrated, *data.finish)), raw),
        unscaled=programs.run(HeadProgram(data.finish), raw),
        index=np.concatenate([val for _, val in split.folds]),
        calibration=winner.calibration.facts,
        seconds=time.perf_counter() - began,
    )


class _Data:
    """The examples of a race. Those of the test set lend nothing, not even to a mean."""

    def __init__(
        self, embeddings: Embeddings, choices: Choices, targets: Targets, classes: int, rest: Indices, task: Task
    ) -> None:
        self.objective, self.goal = task.OBJECTIVE, objectives.get(task.OBJECTIVE)
        scaled, back = self.goal.scaled(targets, rest)
        self.finish: tuple[Step, ...] = (*back, *task.output_steps())  # after calibration
        self.truth = scaled  # i64 [N] or f32 [N, K]
        device = programs.device()
        self.embeddings = torch.from_numpy(embeddings).to(device)  # f32 [N, D], what serving sees
        self.targets = torch.from_numpy(scaled)  # on the CPU
        self.classes = classes
        self.dimension = embeddings.shape[1]
        self.rest = rest
        self.rows = {name: Rows(self.embeddings, torch.from_numpy(v).to(device), rest) for name, v in choices.items()}

    @property
    def each(self) -> dict[str, int]:
        """How many rows an example has, by choice of views."""
        return {name: rows.each for name, rows in self.rows.items()}

    def fitted_on(self, index: Indices, views: str) -> tuple[Inputs, torch.Tensor]:
        """Some of the rest to fit on, and targets. Where rows are many, their forms are made from all of the rest."""
        rows = self.rows[views]
        targets = rows.repeated(self.targets[torch.from_numpy(index)]).to(self.embeddings.device)
        if len(index) == len(self.rest):
            return rows.rest, targets
        if len(index) * rows.each < SHARED_FROM:
            return rows.apart(index), targets
        return rows.among(index), targets

    def fold(self, fold: Fold) -> "_Fold":
        """One fold, ready to fit on: views of what is measured on are in neither part."""
        train, val = fold
        unseen = self.embeddings[torch.from_numpy(val).to(self.embeddings.device)]
        return _Fold({name: self.fitted_on(train, name) for name in self.rows}, unseen)


@dataclass(frozen=True, slots=True)
class _Fold:
    seen: dict[str, tuple[Inputs, torch.Tensor]]  # by choice of views: inputs, and targets i64 [M] or f32 [M, K]
    unseen: torch.Tensor  # f32 [M, D]


@dataclass(frozen=True, slots=True)
class _Group:
    """Candidates that enter together or not at all."""

    method: str
    views: str
    settings: list[Setting]  # with one kind of inputs

    @property
    def inputs(self) -> tuple[str, Any]:
        """What making costs once, however many methods share it."""
        return self.views, self.settings[0].get("inputs")

    def __str__(self) -> str:
        views, kind = self.inputs
        return f"{self.method} on {kind}" + ("" if views == NONE else f" with {views}")


def _entered(
    method: str,
    hyperparameters: dict[str, Any],
    regime: Regime,
    each: dict[str, int],
    folds: int,
    budget: float | None,
) -> tuple[list[_Candidate], str]:
    """Who takes part: what each method would try with one kind of inputs at a time, as long as the budget lasts."""
    budget = max(BUDGET, BUDGET_EACH * regime.examples * max(each.values())) if budget is None else budget
    entered: list[_Group] = []
    spent = 0.0
    left_out: list[tuple[float, _Group]] = []
    for group in _groups(method, hyperparameters, regime, list(each)):
        larger = replace(regime, examples=regime.examples * each[group.views])
        new_inputs = group.inputs not in {other.inputs for other in entered}
        cost = _seconds(methods.get(group.method).work(larger, group.settings), larger, folds, new_inputs)
        if spent + cost > budget:
            left_out.append((cost, group))
            continue
        spent += cost
        entered.append(group)
    if not entered:  # somebody has to
        cheapest = min(left_out, key=lambda pair: pair[0])
        left_out.remove(cheapest)
        entered = [cheapest[1]]
    candidates = [_Candidate(g.method, setting, g.views) for g in entered for setting in g.settings]
    note = f"{len(candidates)} candidates of {len({c.method for c in candidates})} methods"
    return candidates, note + _excuse(left_out, budget)


def _excuse(left_out: list[tuple[float, _Group]], budget: float) -> str:
    if not left_out:
        return "; all that suit the data were tried"
    named = ", ".join(f"{group} ({cost:.1f} s)" for cost, group in left_out)
    return f"; left out, as their estimated time is over the budget of {budget:.1f} s: {named}"


def _groups(method: str, hyperparameters: dict[str, Any], regime: Regime, choices: list[str]) -> list[_Group]:
    """Without further views first, and the first kinds of inputs of all methods before their second ones."""
    kinds = _settings(method, hyperparameters, regime)
    return [_Group(name, choice, settings) for choice in choices for name, settings in kinds]


def _settings(method: str, hyperparameters: dict[str, Any], regime: Regime) -> list[tuple[str, list[Setting]]]:
    """(method, settings with one kind of inputs), the first kinds of all methods before their second ones."""
    if method != "auto":
        _require_fit(method, regime)
        checked = methods.check(method, hyperparameters)
        return _by_inputs(method, methods.get(method).settings(checked, regime))
    if hyperparameters:
        first = next(iter(hyperparameters))[:80]
        raise InvalidHyperparameter(f"hyperparameter {first!r} needs a method; `auto` takes none", item=first)
    able = [name for name in methods.names() if regime.objective in methods.get(name).OBJECTIVES]
    promises = {name: methods.get(name).promise(regime) for name in able}
    suited = sorted((name for name in promises if promises[name]), key=lambda name: -promises[name])
    groups = [_by_inputs(name, methods.get(name).settings(methods.check(name, {}), regime)) for name in suited]
    return [group for rank in zip_longest(*groups) for group in rank if group is not None]


def _require_fit(method: str, regime: Regime) -> None:
    if regime.objective not in methods.get(method).OBJECTIVES:
        able = ", ".join(name for name in methods.names() if regime.objective in methods.get(name).OBJECTIVES)
        raise InvalidInput(f"the method {method!r} cannot do this task; these can: auto, {able}", item="method")


def _by_inputs(name: str, settings: list[Setting]) -> list[tuple[str, list[Setting]]]:
    kinds = dict.fromkeys(setting.get("inputs") for setting in settings)
    return [(name, [setting for setting in settings if setting.get("inputs") == kind]) for kind in kinds]


def _seconds(work: float, regime: Regime, folds: int, new_inputs: bool) -> float:
    """Estimated seconds of one core for all folds; making inputs in their principal axes is most of a small race."""
    basis = 1.5 * regime.rank**2 * (regime.rank + max(regime.examples, regime.dimension)) if new_inputs else 0.0
    return (basis + work * (1 + LATER_FOLDS * (folds - 1))) / SPEED[programs.device().type]


def _regime(data: _Data, split: Split) -> Regime:
    counts = data.goal.counts(data.truth[split.rest], data.classes)
    spread = (int(counts.min()), float(np.median(counts)), int(counts.max()))
    return Regime(len(split.rest), data.dimension, data.classes, *spread, data.objective)


def _run(data: _Data, split: Split, candidates: list[_Candidate], seed: int, cancelled: Callable[[], None]) -> None:
    """Every candidate on the first fold, and those that still may win on the others.

    Each fit begins at zero: where a fit begins is forgotten only by one that goes to the very end, and the fold before
    has seen these answers (tried: it turned 98.8 % into 99.9 %). So fits do not depend on one another, and run beside
    one another where torch leaves cores free.
    """

    def fit(fold: _Fold, mine: list[_Candidate]) -> _Fitted:
        cancelled()
        return _fit_fold(fold, data, mine, seed, cancelled)

    def fit_all(fold: Fold) -> _Fitted:
        view = data.fold(fold)
        return [fitted for mine in _together(candidates) for fitted in fit(view, mine)]

    first, *later = split.folds
    with ThreadPoolExecutor(_lanes()) as lanes:
        _keep(lanes.map(fit, repeat(data.fold(first)), _together(candidates)))
        if len(first[0]) >= PRUNE_FROM:
            candidates = _survivors(candidates, split, data)
        _keep(lanes.map(fit_all, later))


def _lanes() -> int:
    """Fits at a time. Threads of torch's own are quicker alone, but spin while they wait and starve beside a server."""
    free = len(os.sched_getaffinity(0)) if torch.get_num_threads() == 1 and programs.device().type == "cpu" else 1
    return min(free, MAX_LANES)


def _together(candidates: list[_Candidate]) -> list[list[_Candidate]]:
    """Those of one method on the same rows are solved together."""
    alike: dict[tuple[str, str], list[_Candidate]] = {}
    for candidate in candidates:
        alike.setdefault((candidate.method, candidate.views), []).append(candidate)
    return list(alike.values())


def _fit_fold(
    fold: _Fold, data: _Data, candidates: list[_Candidate], seed: int, cancelled: Callable[[], None]
) -> _Fitted:
    """Fit candidates together; what they say of examples that they did not see, and the seconds of each."""
    began = time.perf_counter()
    settings = [candidate.setting for candidate in candidates]
    method = methods.get(candidates[0].method)
    inputs, targets = fold.seen[candidates[0].views]
    fitted = method.fit(inputs, targets, data.classes, settings, seed, cancelled, objective=data.objective)
    raw = programs.run_all(fitted, fold.unseen)
    share = (time.perf_counter() - began) / len(candidates)
    return [(c, program, said, share) for c, program, said in zip(candidates, fitted, raw, strict=True)]


def _keep(fits: Iterable[_Fitted]) -> None:
    for candidate, program, raw, seconds in chain.from_iterable(fits):
        candidate.folds.append(raw)
        candidate.program = program
        candidate.seconds += seconds


def _survivors(candidates: list[_Candidate], split: Split, data: _Data) -> list[_Candidate]:
    """The best few of the first fold: a candidate far behind on a fifth of the data does not win on all of it.

    Racing as in Maron & Moore (1994), with one cut: it is what makes five folds cost about two.
    """
    for candidate in candidates:
        candidate.row = _measure(candidate, split, data)
    best = sorted(candidates, key=lambda candidate: candidate.row["loss"])[:SURVIVORS]
    return [candidate for candidate in candidates if candidate in best]


def _tell(candidates: list[_Candidate], split: Split, data: _Data, report: Report) -> None:
    """The figures of every candidate, reported method by method."""
    names = list(dict.fromkeys(candidate.method for candidate in candidates))
    for done, name in enumerate(names, start=1):
        mine = [candidate for candidate in candidates if candidate.method == name]
        for candidate in mine:
            if candidate.row.get("folds") != len(candidate.folds):
                candidate.row = _measure(candidate, split, data)
        report({"method": name, "done": done, "of": len(names), "rows": [c.row for c in mine]})


def _unraced(
    data: _Data,
    split: Split,
    candidates: list[_Candidate],
    seed: int,
    cancelled: Callable[[], None],
    began: float,
) -> RaceResult:
    """With one example a class nothing can be compared: the one that has led on other data is taken, on trust."""
    chosen = next((c for c in candidates if c.method == "prototype" and c.setting["inputs"] == "power"), candidates[0])
    program = _fit_final(data, chosen, seed, cancelled)
    nothing = np.zeros((0, data.classes), np.float32)
    note = "no two examples of a class to compare candidates with; class means were taken on trust"
    finished = (program.then(Scale(1 / ON_TRUST), *data.finish), program.then(*data.finish))
    return RaceResult(
        *finished, 1 + len(data.finish), chosen.method, chosen.setting, chosen.views, [], note, nothing, nothing,
        np.zeros(0, np.int64), {"temperature": ON_TRUST}, time.perf_counter() - began,
    )  # fmt: skip


def _fit_final(
    data: _Data,
    candidate: _Candidate,
    seed: int,
    cancelled: Callable[[], None],
    start: list[HeadProgram] | None = None,
) -> HeadProgram:
    """A candidate, fitted to everything that is not held out."""
    inputs, targets = data.fitted_on(data.rest, candidate.views)
    method = methods.get(candidate.method)
    return method.fit(inputs, targets, data.classes, [candidate.setting], seed, cancelled, start, True, data.objective)[
        0
    ]


def _measure(candidate: _Candidate, split: Split, data: _Data) -> Row:
    """The figures of one candidate on the folds that it ran, after a calibration of its own."""
    raw = np.concatenate(candidate.folds)
    targets = data.truth[np.concatenate([val for _, val in split.folds[: len(candidate.folds)]])]
    candidate.calibration = data.goal.calibrate(raw, targets)
    calibrated = programs.run(HeadProgram(candidate.calibration.steps), raw)
    losses = data.goal.losses(calibrated, targets)
    return {
        "method": candidate.method,
        "hyperparameters": candidate.setting,
        "views": candidate.views,
        "loss": float(losses.mean()),
        "standard_error": float(losses.std() / max(len(losses), 1) ** 0.5),
        **data.goal.score(calibrated, targets),
        "folds": len(candidate.folds),
        "seconds": round(candidate.seconds, 4),
    }


def _winner(candidates: list[_Candidate], folds: int) -> _Candidate:
    """The least loss of those that ran every fold; within a tie, the more regularised of the same method.

    Methods list the more regularised first.
    """
    finished = [c for c in candidates if c.row["folds"] == folds]
    best = min(finished, key=lambda c: c.row["loss"])
    limit = best.row["loss"] + TIE * best.row["standard_error"]
    return next(c for c in finished if (c.method, c.views) == (best.method, best.views) and c.row["loss"] <= limit)
