"""What a deep round tries: which cuts, on which folds, within which budget of estimated operations."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from adapters.backbones.cuts import check, check_views
from adapters.errors import InvalidInput, TooMuchData
from adapters.recipe import ALL, AUTO, Hyperparameters, rand_augment
from adapters.training import programs
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import MadeUp
from adapters.training.data.split import Fold, Split
from adapters.training.deep import step_memory
from adapters.training.deep.fitting import randaugment, schedule
from adapters.training.deep.fitting.augmenting import cached
from adapters.training.deep.fitting.batches import split
from adapters.training.deep.interpreter import Tail, as_input
from adapters.training.deep.taps import size
from adapters.training_memory import DeepFit, require_deep
from adapters.types import Cut, Indices

HELD_OUT = 200  # answers that are wanted of a fit that is made whatever they say
FIRST = 80  # and before a first look at whether one is worth more folds
STEPS = (0.15, 0.45)  # of the backbone's work: `auto` tries the deepest cut within the last, or else within the first
PLENTY = 5000  # examples from which on it tries all, where the budget allows
BUDGET, BUDGET_EACH = 600.0, 1.0  # estimated seconds of one core by default: at least, and for each example
SPEED = {"cpu": 5e10, "cuda": 2e13}  # operations a second of training, for estimates
BACK = 3  # passes forward that a step costs


@dataclass(frozen=True, slots=True)
class Entry:
    """A cut that may be tried."""

    cut: Cut
    tail: bytes  # f32
    trying: float  # estimated seconds of one core for its folds
    final: float  # and for the fit to all
    taps: int  # bytes of scratch, which all that are tried have at once
    fit: DeepFit  # what its largest batch takes of memory
    rate: float  # of learning, at its highest


@dataclass(frozen=True, slots=True)
class Known:
    """Of the examples that a plan is for."""

    count: int  # N
    rest: int  # of those that the final fit learns from
    lengths: Indices | None = None  # i64 [N], of sequences

    def room(self, cut: Cut) -> Cut:
        """With room for the longest: what is kept, and the most that a step takes."""
        return cut if self.lengths is None else cut.at(int(self.lengths.max()))

    def usual(self, cut: Cut, size: int) -> Cut:
        """As long as the longest of a batch of so many is in the mean: what steps take of time."""
        if self.lengths is None:
            return cut
        random, count = np.random.default_rng(0), math.ceil(len(self.lengths) / size)
        batches = split(random.permutation(len(self.lengths)), count, self.lengths, random)
        return cut.at(round(float(np.mean([self.lengths[batch].max() for batch in batches]))))


@dataclass(frozen=True, slots=True)
class Plan:
    """Entries, cheap ones first, and what was left out."""

    entries: list[Entry]
    note: str
    budget: float = math.inf

    def allows(self, name: str, folds: int, of: int) -> bool:
        """Whether a cut that all were tried on so many folds with may be tried on `of` of them, within what is left."""
        spent = sum(entry.trying for entry in self.entries)
        (entry,) = (entry for entry in self.entries if entry.cut.name == name)
        return spent + entry.trying * (of - folds) / folds + entry.final <= self.budget


def folds_of(split: Split, enough: int, each: Sequence[Indices] = ()) -> list[Fold]:
    """The first folds of a race, as many as hold out enough and something of each of these kinds, or all."""
    found: list[Fold] = []
    for fold in split.folds:
        unseen = np.concatenate([unseen for _, unseen in found]) if found else np.zeros(0, np.int64)
        if len(unseen) >= enough and all(np.isin(kind, unseen).any() for kind in each):
            break
        found.append(fold)
    return found


def plan(
    graph: bytes,
    made_up: MadeUp,
    recipe: Hyperparameters,
    known: Known,
    folds: list[Fold],
    budget: float | None,
    room: float = math.inf,
    always: bool = False,
    memory: float = math.inf,
) -> Plan:
    """`room` is what taps may take and `memory` what a fit may, bytes.

    What a caller names is tried whatever time it takes, and so is the cheapest cut where he asked for nothing but deep:
    `always`. Raises InvalidInput for a backbone that cannot be cut, and a cut that it does not have; TooMuchData where
    there is no room for the taps of what has to be tried, or no memory for a step of it.
    """
    there, unknown = cuts.listed(graph, made_up)
    check([cut.name for cut in there], recipe.unfreeze, unknown)
    _refuse_views(there, recipe)
    if recipe.unfreeze != AUTO:
        named = _entry(graph, cuts.named(there, recipe.unfreeze), there, recipe, known, folds)
        _require_room(named, room)
        require_deep(memory, named.cut.name, named.fit)
        return Plan([named], "")
    parts, everything = (
        [_entry(graph, cut, there, recipe, known, folds) for cut in found] for found in _likely(there, known.rest)
    )
    found = _within(
        parts, everything, max(BUDGET, BUDGET_EACH * known.rest) if budget is None else budget, room, memory
    )
    return _cheapest(parts + everything, found, room, memory) if always and not found.entries else found


def _require_room(entry: Entry, room: float) -> None:
    if entry.taps > room:
        needed = f"what {entry.cut.name} is trained on takes {entry.taps:,} bytes of these examples"
        raise TooMuchData(f"{needed}, and a worker has room for {room:,.0f} (ESPALIER_DEEP_BYTES)", item="unfreeze")


def _likely(there: list[Cut], rest: int) -> tuple[list[Cut], list[Cut]]:
    """The deepest cut within each step, the deeper one first; and everything where examples are many."""
    parts = sorted((cut for cut in there if cut.name != ALL), key=lambda cut: cut.share)
    chosen = [[cut for cut in parts if cut.share <= step][-1:] for step in STEPS[::-1]]
    some = list(dict.fromkeys(cut for found in chosen for cut in found)) or parts[:1]
    return some, [cut for cut in there if cut.name == ALL and (rest >= PLENTY or not parts)]


def _within(parts: list[Entry], everything: list[Entry], budget: float, room: float, memory: float) -> Plan:
    """The deepest part whose folds and whose fit to all fit the budget, and everything where that still does; of those
    whose taps there is room for, and memory for a step.
    """
    kept: list[Entry] = []
    slow, large, heavy = [], [], []
    for entry in [*parts, *everything]:
        if kept and entry in parts:
            continue
        spent, held = sum(other.trying for other in kept), sum(other.taps for other in kept)
        if spent + entry.trying + entry.final > budget:
            slow.append(f"{entry.cut.name} ({entry.trying + entry.final:.0f} s)")
        elif held + entry.taps > room:
            large.append(f"{entry.cut.name} ({entry.taps:,} bytes)")
        elif not entry.fit.fits(memory):
            heavy.append(f"{entry.cut.name} ({entry.fit.needed:,} bytes)")
        else:
            kept.append(entry)
    return Plan(kept, _note(slow, large, heavy, budget, room, memory), budget)


def _note(slow: list[str], large: list[str], heavy: list[str], budget: float, room: float, memory: float) -> str:
    why = {
        f"left out, as their estimated time is over the budget of {budget:.0f} s": slow,
        f"left out, as a worker has room for {room:,.0f} bytes of taps (ESPALIER_DEEP_BYTES)": large,
        f"left out, as a step takes more memory than the {memory:,.0f} bytes that the worker has left": heavy,
    }
    return "; ".join(f"{reason}: {', '.join(names)}" for reason, names in why.items() if names)


def _cheapest(entries: list[Entry], found: Plan, room: float, memory: float) -> Plan:
    """In the place of a plan that leaves out all of them. Raises TooMuchData where there is room or memory for none."""
    _require_room(min(entries, key=lambda entry: entry.taps), room)
    there = [entry for entry in entries if entry.taps <= room]
    light = min(there, key=lambda entry: entry.fit.needed)
    require_deep(memory, light.cut.name, light.fit)
    chosen = min((e for e in there if e.fit.fits(memory)), key=lambda entry: entry.trying + entry.final)
    note = f"{found.note}; {chosen.cut.name} was tried all the same, as nothing but deep training was asked for"
    return Plan([chosen], note, found.budget)


def _entry(graph: bytes, cut: Cut, there: list[Cut], recipe: Hyperparameters, known: Known, folds: list[Fold]) -> Entry:
    tail, most, views = cuts.floated(cuts.tail(graph, cut)), known.room(cut), cached(recipe, cut.kind)
    forward = operations(tail, known.usual(cut, recipe.batch_size)) / SPEED[programs.device().type]
    whole = forward / max(cut.share, 1e-9)
    trunk = (whole - forward) * known.count * len(views)
    steps, seen = BACK * forward * recipe.epochs, [len(train) for train, _ in folds]
    trying, final = trunk + steps * sum(seen), steps * known.rest + forward * known.count
    fit = step_memory.of(tail, most, _largest([known.rest, *seen], recipe), bool(recipe.ema))
    rate = schedule.highest(recipe, cut.kind, {other.kind for other in there})
    return Entry(cut, tail, trying, final, size(most, known.count, views), fit, rate)


def _largest(fits: list[int], recipe: Hyperparameters) -> int:
    """Examples of the largest batch of fits to so many: see `Batches.count`."""
    return max(math.ceil(examples / max(1, math.ceil(examples / recipe.batch_size))) for examples in fits)


def _refuse_views(there: list[Cut], recipe: Hyperparameters) -> None:
    check_views([cut.kind for cut in there], recipe.augment)
    read = next((cut.shape[-1] for cut in there if cut.kind == "input"), None)
    if rand_augment(recipe.augment) and read is not None and read not in randaugment.CHANNELS:
        problem = f"augment={recipe.augment} knows pixels of 1 and 3 channels, and this backbone reads {read}"
        raise InvalidInput(f"{problem}; augment=crop does without colours", item="augment")


def operations(tail: bytes, cut: Cut) -> float:
    """Floating-point operations of one pass of one example."""
    module, tap = Tail(tail), torch.from_numpy(np.zeros((1, *cut.shape), cut.dtype))
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        module(as_input(tap))
    return float(counter.get_total_flops())
