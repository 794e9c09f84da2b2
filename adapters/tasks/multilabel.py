"""Multilabel: each example has any number of labels, none included; a head answers with a probability for each.

A label is kept as a JSON list of names, sorted: `["cat", "dog"]`. Callers may also send `cat|dog`, the form of many
public data sets' CSV files; `[]` says that none applies.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters.arrays import Shapes, of_classes
from adapters.errors import InvalidLabel, NotEnoughData
from adapters.figures import ece, log_loss, wilson
from adapters.labels import clean, is_composite, refuse_contradictions, some
from adapters.suspicion import Suspects, suspicion
from adapters.trust import NOVEL, HeldOut, Terms
from adapters.types import Arrays, Example, Floats, Indices, Objective, Schema, Sigmoid, Targets

OBJECTIVE: Objective = "sigmoid"
ALONG = 0  # answers are labels
MERIT, SHARE = "label_accuracy", "the share of labels right"
PROBABILITIES, LABELS = "probabilities", "labels"  # of answers f32 [N, K]; of targets f32 [N, K], 1 where it applies
SEPARATOR = "|"
MAX_NAMES = 1000  # of one example
MIN_EXAMPLES = 2  # distinct ones with a label, and as many without: one to train on and one to measure with
RARE = 5  # examples: label sets of fewer are one stratum, as no split can give each part its share
NEUTRAL = 0.5  # the threshold of a label that no unseen example had


def parse_label(text: str, item: str) -> str:
    """A JSON list of names, or names joined by `|` → the list sorted, each name once. Raises InvalidLabel."""
    if text.lstrip().startswith("["):
        found = _listed(text, item)
    elif is_composite(text):
        raise InvalidLabel(f"{item}: the label {text[:50]} is an object, not a list of names", item=item)
    elif text.strip():
        found = text.split(SEPARATOR)
    else:
        raise InvalidLabel(f"{item}: the label is empty; write [] where no label applies", item=item)
    if len(found) > MAX_NAMES:
        raise InvalidLabel(f"{item}: {len(found):,} labels on one example; at most {MAX_NAMES}", item=item)
    return _kept(clean(name, item) for name in found)


def shown(label: str) -> list[str]:
    """The names, a list."""
    return list(names(label))


def names(label: str) -> tuple[str, ...]:
    """The labels that apply."""
    return tuple(json.loads(label))


def renamed(label: str, names: Mapping[str, str | None]) -> str:
    """Other names; a label that goes leaves the others in place."""
    found = (names.get(name, name) for name in shown(label))
    return _kept(name for name in found if name is not None)


def check_examples(examples: Sequence[Example]) -> None:
    """Every example has one list, and each label two distinct examples or more that have it, and two that do not.

    Raises InvalidLabel for contradicting lists and NotEnoughData for the rest.
    """
    first = refuse_contradictions(examples, "lists of labels")
    _check_counts(Counter(name for e in first for name in names(e.label)), len(first))


def classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct names, sorted by code point."""
    return tuple(sorted({name for label in labels for name in names(label)}))


def targets(labels: Sequence[str], classes: Sequence[str]) -> Targets:
    """Labels → {"labels": f32 [N, K], 1 where one applies}. Raises InvalidLabel for one not among `classes`."""
    positions = {name: position for position, name in enumerate(classes)}
    found = np.zeros((len(labels), len(classes)), np.float32)
    for row, label in enumerate(labels):
        for name in names(label):
            if name not in positions:
                raise InvalidLabel(f"the label {name[:50]!r} is not one of the head's labels", item=name[:50])
            found[row, positions[name]] = 1
    return {LABELS: found}


def fitted(targets: Targets) -> Floats:
    """Zeros and ones, f32 [N, K]."""
    return targets[LABELS]


def stratum_names(classes: Sequence[str]) -> tuple[str, ...]:
    """None: a stratum is not all examples with a label."""
    return ()


def strata(targets: Targets) -> Indices:
    """By the rarest label of each example; those without any, and labels too rare to share out, are groups of theirs.

    A short form of iterative stratification (Sechidis et al., ECML 2011), which also begins with the rarest label.
    """
    wanted = targets[LABELS]
    rarity = np.where(wanted > 0, wanted.sum(axis=0), np.inf)
    found = np.where(wanted.any(axis=1), rarity.argmin(axis=1), wanted.shape[1]).astype(np.int64)
    sizes = np.bincount(found, minlength=wanted.shape[1] + 1)
    common = int(sizes.argmax())
    found[sizes[found] < RARE] = common
    return found


def kinds(targets: Targets) -> Indices:
    """Examples with the same labels are alike."""
    _, found = np.unique(targets[LABELS], axis=0, return_inverse=True)
    return np.asarray(found, np.int64).reshape(-1)


def shapes(classes: Sequence[str]) -> Shapes:
    """A probability for each label."""
    return {PROBABILITIES: (len(classes),)}


def output_steps() -> tuple[Sigmoid]:
    """Calibrated logits → a probability for each label of its own."""
    return (Sigmoid(),)


def answers(output: Floats) -> Arrays:
    """Probabilities as they are."""
    return {PROBABILITIES: output}


def decide(answers: Arrays, targets: Targets, classes: Sequence[str]) -> dict[str, Any]:
    """{"thresholds": {label: the probability from which it is given}}: of those, the one with the highest F1."""
    outputs, wanted = answers[PROBABILITIES], targets[LABELS]
    found = {name: _threshold(outputs[:, k], wanted[:, k]) for k, name in enumerate(classes)}
    return {"thresholds": found}


def decode(answer: Arrays, schema: Schema, top_k: int) -> dict[str, Any]:
    """Probabilities f32 [K] → {"label": [names that apply], "score", "top": [{"label", "score"}, …]}, best first.

    `score` is how sure the least sure decision is: the least probability, over all labels, of what was decided.
    """
    output = answer[PROBABILITIES]
    given = output >= _thresholds(schema)
    order = np.argsort(-output, kind="stable")
    top = [{"label": schema.classes[k], "score": float(output[k])} for k in order[: max(1, min(top_k, len(output)))]]
    label = [schema.classes[k] for k in order if given[k]]
    return {"label": label, "score": float(np.where(given, output, 1 - output).min()), "top": top}


def doubt(answers: Arrays) -> Floats:
    """One less the product of what each label's likelier side has, f32 [N], as if labels were independent."""
    outputs = answers[PROBABILITIES]
    found: Floats = 1 - np.maximum(outputs, 1 - outputs).prod(axis=1)
    return found


def hesitation(answers: Arrays) -> Floats:
    """How near the least sure label is to a coin's toss, f32 [N]."""
    found: Floats = 1 - np.abs(2 * answers[PROBABILITIES] - 1).min(axis=1)
    return found


def among(answers: Arrays, schema: Schema, shared: Sequence[str]) -> tuple[Arrays, Schema]:
    """The probabilities of these labels."""
    return of_classes(answers, PROBABILITIES, schema, shared)


def agree(one: Sequence[str], other: Sequence[str], schema: Schema) -> bool:
    """They are the same labels."""
    return set(one) == set(other)


def edges(answers: Arrays) -> list[list[float]]:
    """None: answers are labels."""
    return []


def bin_names(classes: Sequence[str]) -> list[str]:
    """One a label, and one for answers without any."""
    return [*classes, "(none)"]


def binned(label: Sequence[str], positions: Mapping[str, int], edges: Sequence[Sequence[float]]) -> list[int]:
    """Those of the labels."""
    return [positions[name] for name in label] or [len(positions)]


def metrics(answers: Arrays, targets: Targets, schema: Schema) -> dict[str, Any]:
    """Plain floats, ready for JSON.

    mAP is the mean over labels that occur of scikit-learn's average precision; F1 is at the thresholds. `exact_match`
    is the share of examples with every label right, `label_accuracy` the share of all single decisions.
    """
    probabilities = answers[PROBABILITIES]
    given, wanted = _decided(answers, targets, schema)
    right = given == wanted
    exact = right.all(axis=1)
    columns = zip(schema.classes, probabilities.T, given.T, wanted.T, strict=True)
    per_class = {name: _figures(p, g, w) for name, p, g, w in columns}
    occurring = [row for row in per_class.values() if row["support"]]
    of_truth = np.where(wanted, probabilities, 1 - probabilities)
    return {
        "examples": len(exact),
        "exact_match": float(exact.mean()), "exact_match_interval": wilson(int(exact.sum()), len(exact)),
        "label_accuracy": float(right.mean()),
        "mean_average_precision": _mean(row["average_precision"] for row in occurring),
        "macro_f1": _mean(row["f1"] for row in occurring),
        "micro_f1": float(2 * (given & wanted).sum() / max(int(given.sum() + wanted.sum()), 1)),
        "log_loss": log_loss(of_truth) * len(schema.classes), "ece": ece(np.ravel(probabilities), np.ravel(wanted)),
        "per_class": per_class,
    }  # fmt: skip


def merits(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    """The share of an example's labels that were decided rightly, f32 [M]."""
    given, wanted = _decided(answers, targets, schema)
    return (given == wanted).mean(axis=1).astype(np.float32)


shares = merits


def mistakes(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    """The probability of the surest wrong decision, f32 [M]."""
    outputs = answers[PROBABILITIES]
    given, wanted = _decided(answers, targets, schema)
    found: Floats = np.where(given != wanted, np.where(wanted, 1 - outputs, outputs), 0).max(axis=1)
    return found


def chosen(answers: Arrays, targets: Targets) -> None:
    """None: an answer is any number of labels."""


def suspects(answers: Arrays, targets: Targets, schema: Schema) -> Suspects:
    """Confident learning, label by label; what is suggested is the list with the most suspect label turned over."""
    columns = zip(answers[PROBABILITIES].T, targets[LABELS].T, strict=True)
    each = [suspicion(np.stack([1 - p, p], axis=1), y.astype(np.int64)) for p, y in columns]
    scores, flags = np.stack([s.score for s in each], axis=1), np.stack([s.flagged for s in each], axis=1)
    worst = np.where(flags, scores, scores - 1).argmax(axis=1)  # a flagged one, where there is any
    turned = targets[LABELS] > 0
    turned[np.arange(len(turned)), worst] ^= True
    suggested = [[schema.classes[k] for k in np.flatnonzero(row)] for row in turned]
    estimate = min(float(sum(s.estimate for s in each)), float(flags.any(axis=1).sum()))  # of examples, not of labels
    return Suspects(scores[np.arange(len(worst)), worst], suggested, np.asarray(flags.any(axis=1)), estimate)


def regret(wanted: Arrays, answered: Arrays, schema: Schema) -> Floats:
    """How far the farthest label that was decided differently is from its threshold, f32 [N]."""
    limits, one, other = _thresholds(schema), wanted[PROBABILITIES], answered[PROBABILITIES]
    found: Floats = np.where((one >= limits) != (other >= limits), np.abs(one - limits), 0).max(axis=1)
    return found


def units(schema: Schema) -> dict[str, Floats]:
    """Probabilities are."""
    return {PROBABILITIES: np.ones(len(schema.classes), np.float32)}


def held_out(answers: Arrays, targets: Targets, schema: Schema) -> HeldOut:
    """A set holds all labels that apply when the least probable of them is in it."""
    outputs = answers[PROBABILITIES]
    given, wanted = _decided(answers, targets, schema)
    sure = np.where(given, outputs, 1 - outputs).min(axis=1)
    return HeldOut(np.where(wanted, outputs, 1).min(axis=1), sure, (given == wanted).all(axis=1))


def promised(answer: Arrays, schema: Schema, novelty: float, terms: Terms) -> dict[str, Any]:
    """{"set", "coverage"}: labels that hold all that apply that often; and {"abstain"}, as asked for."""
    output, found = answer[PROBABILITIES], dict[str, Any]()
    if terms.coverage is not None:
        order = np.argsort(-output, kind="stable")
        found |= {"set": [schema.classes[k] for k in order if output[k] >= terms.least], "coverage": terms.coverage}
    if terms.confidence is not None:
        given = output >= _thresholds(schema)
        sure = float(np.where(given, output, 1 - output).min())
        found["abstain"] = bool(sure < terms.confidence or novelty > NOVEL)
    return found


def _listed(text: str, item: str) -> list[str]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, list) or not all(isinstance(name, str) for name in found):
        raise InvalidLabel(f"{item}: {text[:50]!r} is not a JSON list of names", item=item)
    return found


def _kept(names: Any) -> str:
    return json.dumps(sorted(set(names)), ensure_ascii=False)


def _check_counts(counts: Counter[str], examples: int) -> None:
    if not counts:
        raise NotEnoughData("no example has a label; send examples that labels apply to")
    rare = sorted(name for name, count in counts.items() if count < MIN_EXAMPLES)
    if rare:
        raise NotEnoughData(
            f"each label needs at least {MIN_EXAMPLES} different examples that have it, with fewer: "
            f"{some([repr(name[:50]) for name in rare])}; add examples of it or leave it out",
            item=rare[0],
        )
    everywhere = sorted(name for name, count in counts.items() if examples - count < MIN_EXAMPLES)
    if everywhere:
        raise NotEnoughData(
            f"each label needs at least {MIN_EXAMPLES} different examples without it, with fewer: "
            f"{some([repr(name[:50]) for name in everywhere])}; add examples that it does not apply to",
            item=everywhere[0],
        )


def _decided(answers: Arrays, targets: Targets, schema: Schema) -> tuple[Any, Any]:
    """Which labels are given, and which apply; bool [M, K] each."""
    return answers[PROBABILITIES] >= _thresholds(schema), targets[LABELS] > 0


def _thresholds(schema: Schema) -> Floats:
    limits = schema.decision.get("thresholds", {})
    return np.array([limits.get(name, NEUTRAL) for name in schema.classes], np.float32)


def _threshold(probabilities: Floats, targets: Floats) -> float:
    """Halfway between the probabilities where F1 is highest and falls; F1 of few examples is a rough guide."""
    if not targets.any():
        return NEUTRAL
    order = np.argsort(-probabilities, kind="stable")
    ranked, hits = probabilities[order], np.cumsum(targets[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + targets.sum())
    f1[:-1][ranked[1:] == ranked[:-1]] = -1  # equal probabilities are decided alike
    best = int(f1.argmax())
    below = float(ranked[best + 1]) if best + 1 < len(ranked) else 0.0
    return (float(ranked[best]) + below) / 2


def _figures(probabilities: Floats, given: Any, wanted: Any) -> dict[str, float | int]:
    hits, support, named = int((given & wanted).sum()), int(wanted.sum()), int(given.sum())
    return {
        "precision": hits / max(named, 1), "recall": hits / max(support, 1), "f1": 2 * hits / max(support + named, 1),
        "average_precision": _average_precision(probabilities, wanted), "support": support,
    }  # fmt: skip


def _average_precision(probabilities: Floats, wanted: Any) -> float:
    """Σ (recall − the recall before)·precision over the distinct probabilities, as scikit-learn has it."""
    order = np.argsort(-probabilities, kind="stable")
    hits, last = np.cumsum(wanted[order]), np.append(np.diff(probabilities[order]) != 0, True)
    hits, counts = hits[last], np.arange(1, len(order) + 1)[last]
    return float((np.diff(hits, prepend=0) * hits / counts).sum() / max(int(wanted.sum()), 1))


def _mean(values: Any) -> float:
    found = list(values)
    return float(np.mean(found)) if found else 0.0
