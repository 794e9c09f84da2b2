"""Who takes part in a race: what the methods that suit the data would try, as long as the budget lasts."""

from dataclasses import dataclass, field
from itertools import groupby, zip_longest
from typing import Any

from adapters import methods
from adapters.errors import InvalidHyperparameter, InvalidInput
from adapters.methods import Regime, Setting
from adapters.modalities import NONE
from adapters.training import programs
from adapters.training.objectives import Calibration
from adapters.training.views import Source
from adapters.types import Floats, HeadProgram

BUDGET, BUDGET_EACH = 0.7, 0.0006  # seconds by default, or so many a row: a fifteenth of what embedding it takes
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


def entered(
    method: str,
    hyperparameters: dict[str, Any],
    regimes: dict[Source, Regime],
    folds: int,
    budget: float | None,
) -> tuple[list[Candidate], str]:
    """Who takes part: what each method would try with one kind of inputs at a time, as long as the budget lasts.

    `regimes` are those of what candidates may be fitted to, the most promising first.
    """
    budget = max(BUDGET, BUDGET_EACH * max(r.examples for r in regimes.values())) if budget is None else budget
    entered: list[_Group] = []
    spent = 0.0
    left_out: list[tuple[float, _Group]] = []
    for group in _groups(method, hyperparameters, regimes):
        regime, new_inputs = regimes[group.source], group.inputs not in {other.inputs for other in entered}
        cost = _seconds(methods.get(group.method).work(regime, group.settings), regime, folds, new_inputs)
        if spent + cost > budget:
            left_out.append((cost, group))
            continue
        spent += cost
        entered.append(group)
    if not entered:  # somebody has to
        cheapest = min(left_out, key=lambda pair: pair[0])
        left_out.remove(cheapest)
        entered = [cheapest[1]]
    candidates = [Candidate(g.method, setting, g.source) for g in entered for setting in g.settings]
    kinds = len({c.method for c in candidates})
    note = f"{len(candidates)} candidates of {kinds} method{'s' if kinds > 1 else ''}"
    return candidates, note + _excuse(left_out, budget)


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
