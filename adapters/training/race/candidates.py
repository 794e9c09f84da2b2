"""Who takes part in a race: what the methods that suit the data would try, as long as the budget lasts."""

import math
from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from typing import Any

from adapters import methods
from adapters.errors import InvalidHyperparameter, InvalidInput
from adapters.methods import Regime, Setting
from adapters.modalities import NONE
from adapters.training import programs
from adapters.training.embedding.views import Source
from adapters.training.race.objectives import Calibration
from adapters.types import Floats, HeadProgram

BUDGET, BUDGET_EACH = 1.5, 0.0015  # seconds by default, or so many a row: docs/adr/0010 has what more brings
SPEED = {"cpu": 2e10, "cuda": 2e12}  # operations a second, for estimates: a CPU core does no more on skinny products
LATER_FOLDS = 0.4  # of what the first fold costs

Row = dict[str, Any]


@dataclass(slots=True, eq=False)
class Candidate:
    """A setting of a method, trained on some rows and some part of embeddings, and what became of it."""

    method: str
    setting: Setting
    source: Source
    folds: list[Floats] = field(default_factory=list)  # raw outputs [M, K] of each fold that it ran
    program: HeadProgram | None = None  # of the last fold: where the final fit may begin
    seconds: float = 0.0
    row: Row = field(default_factory=dict)
    calibration: Calibration = field(default_factory=Calibration)

    @property
    def kind(self) -> tuple[str, Source, Any]:
        """What it shares with those that differ in strength only."""
        return self.method, self.source, self.setting.get("inputs")

    @property
    def inputs(self) -> tuple[Source, Any]:
        """What it is fitted to, and in which form."""
        return self.source, self.setting.get("inputs")


@dataclass(frozen=True, slots=True)
class _Group:
    """Candidates that enter together or not at all."""

    method: str
    source: Source
    settings: list[Setting]  # with one kind of inputs

    @property
    def inputs(self) -> tuple[Source, Any]:
        """What making costs once, however many methods share it."""
        return self.source, self.settings[0].get("inputs")

    def __str__(self) -> str:
        source, kind = self.inputs
        return f"{self.method} on {kind} {source.reads}" + ("" if source.views == NONE else f" with {source.views}")


class Entry:
    """Lets candidates in, a group at a time, as long as the budget lasts; in two rounds.

    Closed forms go first, on everything: once inputs are in their principal axes they cost next to nothing, and they
    tell which inputs and which part of an embedding are worth the time of a method that iterates. Without a closed form
    there is one round.
    """

    def __init__(
        self,
        method: str,
        hyperparameters: dict[str, Any],
        regimes: dict[Source, Regime],
        folds: int,
        budget: float | None,
        examples: int = 0,
    ) -> None:
        """`regimes` are those of what candidates may be fitted to, the most promising first; `examples` is how many
        there are in all, where more than these.

        Raises InvalidInput and InvalidHyperparameter for a method that cannot do it, or does not take these.
        """
        most = max(examples, *(regime.examples for regime in regimes.values()))
        self._budget = max(BUDGET, BUDGET_EACH * most) if budget is None else budget
        self._regimes, self._folds = regimes, folds
        groups = _groups(method, hyperparameters, regimes)
        closed = [group for group in groups if methods.get(group.method).CLOSED_FORM]
        self._later = [group for group in groups if closed and group not in closed]
        self._entered: list[_Group] = []
        self._left_out: list[tuple[float, _Group]] = []
        self._first = closed or groups
        self._spent = 0.0

    def first(self) -> list[Candidate]:
        """The first round; never empty."""
        found = self._admitted(self._first)
        if not found:  # somebody has to
            cheapest = min(self._left_out, key=lambda pair: pair[0])
            self._left_out.remove(cheapest)
            self._entered.append(cheapest[1])
            found = [cheapest[1]]
        return _candidates(found)

    def second(self, first: list[Candidate]) -> list[Candidate]:
        """The second round, beginning with the inputs on which one of the first has the least loss."""
        best: dict[tuple[Source, Any], float] = {}
        for candidate in first:
            best[candidate.inputs] = min(candidate.row["loss"], best.get(candidate.inputs, math.inf))
        return _candidates(self._admitted(sorted(self._later, key=lambda group: best.get(group.inputs, math.inf))))

    @property
    def note(self) -> str:
        """Who took part, and who did not for want of time."""
        count, kinds = sum(len(g.settings) for g in self._entered), len({g.method for g in self._entered})
        excuse = _excuse(self._left_out, self._budget)
        return f"{count} candidates of {kinds} method{'s' if kinds > 1 else ''}{excuse}"

    def _admitted(self, groups: list[_Group]) -> list[_Group]:
        found = []
        for group in groups:
            cost = self._cost(group)
            if self._spent + cost > self._budget:
                self._left_out.append((cost, group))
                continue
            self._spent += cost
            self._entered.append(group)
            found.append(group)
        return found

    def _cost(self, group: _Group) -> float:
        """Estimated seconds of one core."""
        regime, new_inputs = self._regimes[group.source], group.inputs not in {g.inputs for g in self._entered}
        work = methods.get(group.method).work(regime, group.settings)
        return _seconds(work, regime, self._folds, new_inputs)


def _candidates(groups: list[_Group]) -> list[Candidate]:
    return [Candidate(g.method, setting, g.source) for g in groups for setting in g.settings]


def _excuse(left_out: list[tuple[float, _Group]], budget: float) -> str:
    if not left_out:
        return "; all that suit the data were tried"
    named = ", ".join(f"{group} ({cost:.1f} s)" for cost, group in left_out)
    return f"; left out, as their estimated time is over the budget of {budget:.1f} s: {named}"


def _groups(method: str, hyperparameters: dict[str, Any], regimes: dict[Source, Regime]) -> list[_Group]:
    """Without further views first; then the first kinds of inputs of all methods before their second ones."""
    kinds = _settings(method, hyperparameters, next(iter(regimes.values())))
    by_views = groupby(regimes, lambda source: source.views)
    each = [list(sources) for _, sources in by_views]
    return [_Group(name, source, settings) for sources in each for name, settings in kinds for source in sources]


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
