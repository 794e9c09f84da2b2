"""Regression: each example has a number, or several with names; a head answers with the same.

A label is kept as JSON: `3.5`, or `{"height": 1.7, "weight": 60.0}` with the names sorted.
"""

import bisect
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters.arrays import Shapes, each, of_classes
from adapters.errors import Conflict, InvalidLabel, NotEnoughData
from adapters.figures import around_mean
from adapters.labels import Twice, clean, distinct, refuse_contradictions
from adapters.suspicion import Suspects, astray
from adapters.trust import HeldOut, Terms
from adapters.types import Arrays, Example, Floats, Indices, Objective, Schema, Step, Targets

OBJECTIVE: Objective = "squared"
MERIT, SHARE = "neg_mean_absolute_error", "the share of variance explained"  # scikit-learn's name
VALUES = "values"  # of answers and of targets, f32 [N, K], in the caller's units
ONLY = "value"  # the name of the target where labels are plain numbers
MOST_TARGETS = 100
LARGEST = 1e9  # magnitude of a target: float32 has seven digits
MIN_EXAMPLES = 10  # distinct ones: with fewer no interval and no error means anything
ALIKE = 0.25  # of a target's spread: answers of two versions that are no farther apart agree
BINS = 10  # of a split's strata, by the first target; and of answers over time
ALONG = BINS


def parse_label(text: str, item: str) -> str:
    """A number, or a JSON object of names and numbers. Raises InvalidLabel."""
    try:
        found = json.loads(text, object_pairs_hook=distinct)
    except Twice as error:
        raise InvalidLabel(f"{item}: {error}", item=item) from None
    except (ValueError, RecursionError):
        found = None
    if isinstance(found, dict) and 0 < len(found) <= MOST_TARGETS:
        return json.dumps(dict(sorted(_named(found, item).items())), ensure_ascii=False)
    if isinstance(found, dict):
        raise InvalidLabel(f"{item}: {len(found)} targets; there must be 1 to {MOST_TARGETS}", item=item)
    return json.dumps(_number(text if found is None else found, item))


def _named(found: Mapping[str, Any], item: str) -> dict[str, float]:
    """Targets by their cleaned names. Raises InvalidLabel, also where two spellings are one name."""
    try:
        return distinct([(clean(name, item), _number(value, item)) for name, value in found.items()])
    except Twice as error:
        raise InvalidLabel(f"{item}: {error}", item=item) from None


def shown(label: str) -> float | dict[str, float]:
    """The number, or the numbers by name."""
    found: float | dict[str, float] = json.loads(label)
    return found


def names(label: str) -> tuple[str, ...]:
    """What is measured."""
    found = shown(label)
    return tuple(found) if isinstance(found, dict) else (ONLY,)


def renamed(label: str, names: Mapping[str, str | None]) -> str:
    """Other names of what is measured. Raises Conflict for plain numbers, and where two would become one or one go."""
    found = shown(label)
    if not isinstance(found, dict):
        raise Conflict("labels that are plain numbers have no names to change")
    after = {names.get(name, name): value for name, value in found.items()}
    if None in after or len(after) < len(found):
        raise Conflict("targets of a regression can be renamed, but not merged or dropped; teach a head without them")
    return json.dumps(dict(sorted((str(name), value) for name, value in after.items())), ensure_ascii=False)


def check_examples(examples: Sequence[Example]) -> None:
    """All labels measure the same, no example has two of them, and there are enough that differ.

    Raises InvalidLabel and NotEnoughData.
    """
    first = {example.sha256: example for example in refuse_contradictions(examples)}
    _check_names(list(first.values()))
    if len(first) < MIN_EXAMPLES:
        raise NotEnoughData(f"regression needs at least {MIN_EXAMPLES} different examples, there are {len(first)}")
    values = targets([e.label for e in first.values()], classes([e.label for e in first.values()]))[VALUES]
    for name, column in zip(classes([next(iter(first.values())).label]), values.T, strict=True):
        if column.min() == column.max():
            raise NotEnoughData(f"{name[:50]!r} is {column[0]:g} for every example; send some that differ", item=name)


def classes(labels: Sequence[str]) -> tuple[str, ...]:
    """What is measured, sorted by code point."""
    return tuple(sorted({name for label in labels for name in names(label)}))


def targets(labels: Sequence[str], classes: Sequence[str]) -> Targets:
    """Labels → {"values": f32 [N, K]}, in the caller's units. Raises InvalidLabel for one of something else."""
    found = np.zeros((len(labels), len(classes)), np.float32)
    for row, label in enumerate(labels):
        value = shown(label)
        named = value if isinstance(value, dict) else {ONLY: value}
        if set(named) != set(classes):
            raise InvalidLabel(f"the label {label[:50]!r} does not give {', '.join(classes)[:100]}", item=label[:50])
        found[row] = [named[name] for name in classes]
    return {VALUES: found}


def fitted(targets: Targets) -> Floats:
    """The values, f32 [N, K]."""
    return targets[VALUES]


def strata(targets: Targets) -> Indices:
    """Tenths of the examples by their first target."""
    first = targets[VALUES][:, 0]
    order = np.argsort(np.argsort(first, kind="stable"), kind="stable")
    bins = max(1, min(BINS, len(first) // BINS))
    return (order * bins // len(first)).astype(np.int64)


def stratum_names(classes: Sequence[str]) -> tuple[str, ...]:
    """None: they are tenths."""
    return ()


def kinds(targets: Targets) -> Indices:
    """All alike: what is measured says little of what the inputs show."""
    return np.zeros(len(targets[VALUES]), np.int64)


def shapes(classes: Sequence[str]) -> Shapes:
    """A value for each target."""
    return {VALUES: (len(classes),)}


def output_steps() -> tuple[Step, ...]:
    """None: the race has brought values back to the caller's units."""
    return ()


def answers(output: Floats) -> Arrays:
    """Values as they are."""
    return {VALUES: output}


def decide(answers: Arrays, targets: Targets, classes: Sequence[str]) -> dict[str, Any]:
    """{"spread": {name: the standard deviation of what was taught}}: what errors are measured in."""
    spread = np.maximum(targets[VALUES].astype(np.float64).std(axis=0), 1e-9)
    return {"spread": dict(zip(classes, spread.tolist(), strict=True))}


def decode(answer: Arrays, schema: Schema, top_k: int) -> dict[str, Any]:
    """Values f32 [K] → {"label": the number, or numbers by name, "score": None, "top": []}."""
    return {"label": _shaped(answer[VALUES].tolist(), schema), "score": None, "top": []}


def doubt(answers: Arrays) -> Floats:
    """Unknown: a value does not say how sure it is, f32 [N] of zeros."""
    return np.zeros(len(answers[VALUES]), np.float32)


def hesitation(answers: Arrays) -> Floats:
    """The same for all, f32 [N]: then those far from one another are asked for."""
    return np.ones(len(answers[VALUES]), np.float32)


def among(answers: Arrays, schema: Schema, shared: Sequence[str]) -> tuple[Arrays, Schema]:
    """The values of these targets."""
    return of_classes(answers, VALUES, schema, shared)


def agree(one: Any, other: Any, schema: Schema) -> bool:
    """No target differs by more than a quarter of the standard deviation of what was taught."""
    pairs = [answer if isinstance(answer, dict) else {ONLY: answer} for answer in (one, other)]
    if pairs[0].keys() != pairs[1].keys():
        return False
    spread = schema.decision.get("spread", {})
    return all(abs(value - pairs[1][name]) <= ALIKE * spread.get(name, 1.0) for name, value in pairs[0].items())


def edges(answers: Arrays) -> list[list[float]]:
    """Deciles of each target's answers."""
    values = answers[VALUES].astype(np.float64)
    inner = np.quantile(values, [k / BINS for k in range(1, BINS)], axis=0)  # [BINS − 1, K]
    return [column.tolist() for column in inner.T]


def bin_names(classes: Sequence[str]) -> list[str]:
    """Ten for each target, by its held-out answers."""
    return [f"{name}: tenth {k + 1}" for name in classes for k in range(BINS)]


def binned(label: Any, positions: Mapping[str, int], edges: Sequence[Sequence[float]]) -> list[int]:
    """One for each target."""
    named = label if isinstance(label, dict) else {ONLY: label}
    return [BINS * positions[name] + bisect.bisect_right(edges[positions[name]], v) for name, v in named.items()]


def metrics(answers: Arrays, targets: Targets, schema: Schema) -> dict[str, Any]:
    """Plain floats, ready for JSON; means over targets.

    `mae` and `rmse` are in the caller's units, `r2` is the share of the variance that is explained, as scikit-learn
    has it (uniform average).
    """
    truth = targets[VALUES]
    error = answers[VALUES].astype(np.float64) - truth
    variance = np.maximum(truth.astype(np.float64).var(axis=0), 1e-30)
    absolute = np.abs(error).mean(axis=1)
    per_target = {name: _figures(error[:, k], variance[k]) for k, name in enumerate(schema.classes)}
    return {
        "examples": len(truth),
        "mae": float(absolute.mean()), "mae_interval": around_mean(absolute),
        "rmse": float(np.sqrt((error**2).mean(axis=0)).mean()),
        "r2": float((1 - (error**2).mean(axis=0) / variance).mean()),
        "mean_baseline_mae": float(np.abs(truth - truth.mean(axis=0)).mean()),
        "per_target": per_target,
    }  # fmt: skip


def merits(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    """Less the mean absolute error of each answer, in the caller's units, f32 [M]."""
    return (-np.abs(answers[VALUES] - targets[VALUES]).mean(axis=1)).astype(np.float32)


def shares(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    """One less the squared error in units of the variance: their mean is R², f32 [M]."""
    found: Floats = 1 - np.square(_errors(answers, targets, schema)).mean(axis=1)
    return found


def mistakes(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    """The largest error of each answer in the targets' spreads, f32 [M]."""
    found: Floats = np.abs(_errors(answers, targets, schema)).max(axis=1)
    return found


def chosen(answers: Arrays, targets: Targets) -> None:
    """None: values choose no class."""


def suspects(answers: Arrays, targets: Targets, schema: Schema) -> Suspects:
    """Labels that answers are far further from than usual."""
    found = astray(mistakes(answers, targets, schema))
    suggested = [decode(answer, schema, 1)["label"] for answer in each(answers)]
    return Suspects(found.score, suggested, found.flagged, found.estimate)


def regret(wanted: Arrays, answered: Arrays, schema: Schema) -> Floats:
    """Values are not decisions: zeros, f32 [N]."""
    return np.zeros(len(wanted[VALUES]), np.float32)


def units(schema: Schema) -> dict[str, Floats]:
    """The standard deviation of each target, f32 [K]."""
    return {VALUES: _spreads(schema)}


def held_out(answers: Arrays, targets: Targets, schema: Schema) -> HeldOut:
    """Less the largest error of each answer in the targets' spreads: intervals hold all targets at once."""
    return HeldOut(-mistakes(answers, targets, schema))


def promised(answer: Arrays, schema: Schema, novelty: float, terms: Terms) -> dict[str, Any]:
    """{"interval", "coverage"}: [low, high] of each target, all of which hold that often."""
    if terms.coverage is None:
        return {}
    values, half = answer[VALUES], -terms.least * _spreads(schema)
    pairs = np.stack([values - half, values + half], axis=1).tolist()
    return {"interval": _shaped(pairs, schema), "coverage": terms.coverage}


def _spreads(schema: Schema) -> Floats:
    spread = schema.decision.get("spread", {})
    return np.array([spread.get(name, 1.0) for name in schema.classes], np.float32)


def _errors(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    """In the targets' spreads, f32 [M, K]."""
    error: Floats = answers[VALUES] - targets[VALUES]
    return error / _spreads(schema)


def _number(value: Any, item: str) -> float:
    try:
        marked = isinstance(value, str) and "_" in value  # Python reads `1_0` as 10
        number = math.nan if isinstance(value, bool) or marked else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= LARGEST:  # NaN is not either
        said = str(value)[:50]
        raise InvalidLabel(
            f"{item}: {said!r} is not a number of at most {LARGEST:.0e}; send a number, or an object of them",
            item=item,
        )
    return number


def _check_names(examples: Sequence[Example]) -> None:
    if not examples:
        raise NotEnoughData(f"regression needs at least {MIN_EXAMPLES} different examples, there are none")
    wanted = set(names(examples[0].label))
    for example in examples:
        found = set(names(example.label))
        if found != wanted:
            raise InvalidLabel(
                f"{example.file_name[:80]}: it measures {', '.join(sorted(found))[:100]}, others measure "
                f"{', '.join(sorted(wanted))[:100]}; give every example the same targets",
                item=example.file_name[:80],
            )


def _shaped(values: Sequence[Any], schema: Schema) -> Any:
    return values[0] if schema.classes == (ONLY,) else dict(zip(schema.classes, values, strict=True))


def _figures(error: Any, variance: float) -> dict[str, float]:
    square = float((error**2).mean())
    return {"mae": float(np.abs(error).mean()), "rmse": math.sqrt(square), "r2": 1 - square / float(variance)}
