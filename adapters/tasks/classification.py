"""Classification: each example has one label of a closed set; a head answers with a probability for each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from adapters.arrays import Shapes, of_classes
from adapters.errors import InvalidLabel, NotEnoughData
from adapters.figures import ece, log_loss, wilson
from adapters.labels import clean, is_composite, refuse_contradictions, some
from adapters.problems import each
from adapters.suspicion import Suspects, suspicion
from adapters.tasks import Chosen
from adapters.trust import NOVEL, HeldOut, Terms
from adapters.types import Arrays, Example, Floats, Indices, Objective, Schema, Softmax, Targets

OBJECTIVE: Objective = "softmax"
ALONG = 0  # answers are labels
MERIT, SHARE = "accuracy", "accuracy"
PROBABILITIES, CLASS = "probabilities", "class"  # of answers f32 [N, K]; of targets i64 [N], positions of classes
MIN_CLASSES = 2
MIN_EXAMPLES = 2  # distinct ones a class: one to train on and one to measure with
MAX_CONFUSION = 200  # classes; the matrix of more is too large for a response and too large to read


def parse_label(text: str, item: str) -> str:
    """The name of a class. Raises InvalidLabel, also for a list or an object: those are other tasks' labels."""
    if is_composite(text):
        kind = "an object" if text.lstrip().startswith("{") else "a list"
        hint = "task=multilabel takes lists, task=regression numbers by name"
        raise InvalidLabel(f"{item}: the label {text[:50]} is {kind}, not the name of a class; {hint}", item=item)
    return clean(text, item)


def shown(label: str) -> str:
    """The label itself."""
    return label


def names(label: str) -> tuple[str, ...]:
    """One class."""
    return (label,)


def renamed(label: str, names: Mapping[str, str | None]) -> str | None:
    """The class's new name; None where it goes."""
    return names.get(label, label)


def check_examples(examples: Sequence[Example]) -> None:
    """Every example has one label, there are two classes or more, and each has two distinct examples or more.

    Raises InvalidLabel for contradicting labels and NotEnoughData for the rest; one pass, 0.1 s for 100,000 examples.
    """
    _check_counts(Counter(example.label for example in refuse_contradictions(examples)))


def classes(labels: Sequence[str]) -> tuple[str, ...]:
    """The distinct labels, sorted by code point."""
    return tuple(sorted(set(labels)))


def targets(labels: Sequence[str], classes: Sequence[str]) -> Targets:
    """Labels → {"class": positions in `classes`, i64 [N]}. Raises InvalidLabel for one that is not among them."""
    positions = {label: position for position, label in enumerate(classes)}
    try:
        found = np.fromiter((positions[label] for label in labels), dtype=np.int64, count=len(labels))
    except KeyError as error:
        label = str(error.args[0])[:50]
        raise InvalidLabel(f"the label {label!r} is not one of the head's classes", item=label) from None
    return {CLASS: found}


def fitted(targets: Targets) -> Indices:
    """The classes, i64 [N]."""
    return targets[CLASS]


strata = kinds = fitted


def stratum_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Those of the classes."""
    return tuple(classes)


def shapes(classes: Sequence[str]) -> Shapes:
    """A probability for each class."""
    return {PROBABILITIES: (len(classes),)}


def output_steps() -> tuple[Softmax]:
    """Calibrated logits → probabilities that sum to one."""
    return (Softmax(),)


def answers(output: Floats) -> Arrays:
    """Probabilities as they are."""
    return {PROBABILITIES: output}


def decide(answers: Arrays, targets: Targets, classes: Sequence[str]) -> dict[str, Any]:
    """Nothing to choose: the likeliest class is the answer."""
    return {}


def decode(answer: Arrays, schema: Schema, top_k: int) -> dict[str, Any]:
    """Probabilities f32 [K] → {"label", "score", "top": [{"label", "score"}, …]}, best first, ties in class order."""
    output = answer[PROBABILITIES]
    count = max(1, min(top_k, len(output)))
    order = (-output).argsort(kind="stable")[:count]
    named = zip(order.tolist(), output[order].tolist(), strict=True)
    top = [{"label": schema.classes[k], "score": score} for k, score in named]
    return {**top[0], "top": top}


def doubt(answers: Arrays) -> Floats:
    """One less the probability of the best class, f32 [N]."""
    found: Floats = 1 - answers[PROBABILITIES].max(axis=1)
    return found


def hesitation(answers: Arrays) -> Floats:
    """One less the margin between the best two classes, f32 [N]."""
    best = np.sort(answers[PROBABILITIES], axis=1)[:, -2:]
    found: Floats = 1 - (best[:, 1] - best[:, 0])
    return found


def among(answers: Arrays, schema: Schema, shared: Sequence[str]) -> tuple[Arrays, Schema]:
    """The probabilities of these classes; what the others had is nobody's."""
    return of_classes(answers, PROBABILITIES, schema, shared)


def agree(one: str, other: str, schema: Schema) -> bool:
    """They are the same class, by its name."""
    return one == other


def edges(answers: Arrays) -> list[list[float]]:
    """None: answers are labels."""
    return []


def bin_names(classes: Sequence[str]) -> list[str]:
    """One a class."""
    return list(classes)


def binned(label: str, positions: Mapping[str, int], edges: Sequence[Sequence[float]]) -> tuple[int]:
    """That of the class."""
    return (positions[label],)


def held_out(answers: Arrays, targets: Targets, schema: Schema) -> HeldOut:
    """A set holds the class when the class is probable enough."""
    found = chosen(answers, targets)
    of_truth = answers[PROBABILITIES][np.arange(len(found.truth)), found.truth]
    return HeldOut(of_truth, found.confidence, found.said == found.truth)


def promised(answer: Arrays, schema: Schema, novelty: float, terms: Terms) -> dict[str, Any]:
    """Probabilities f32 [K] → {"set", "coverage"} and {"abstain"}, as asked for.

    The set is every label that is probable enough, best first. It is empty where none is: a head that is right more
    often than the coverage asked for leaves out the answers it is least sure of.
    """
    output, found = answer[PROBABILITIES], dict[str, Any]()
    if terms.coverage is not None:
        order = (-output).argsort(kind="stable")
        found |= {"set": [schema.classes[k] for k in order if output[k] >= terms.least], "coverage": terms.coverage}
    if terms.confidence is not None:
        found["abstain"] = bool(output.max() < terms.confidence or novelty > NOVEL)
    return found


def chosen(answers: Arrays, targets: Targets) -> Chosen:
    """The likeliest class."""
    outputs = answers[PROBABILITIES]
    return Chosen(targets[CLASS], outputs.argmax(axis=1), outputs.max(axis=1))


def merits(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    """One for a right answer, zero for a wrong one."""
    return (answers[PROBABILITIES].argmax(axis=1) == targets[CLASS]).astype(np.float32)


shares = merits


def mistakes(answers: Arrays, targets: Targets, schema: Schema) -> Floats:
    """The probability of the wrong answer, f32 [M]."""
    made = chosen(answers, targets)
    found: Floats = np.where(made.said == made.truth, 0, made.confidence)
    return found


def suspects(answers: Arrays, targets: Targets, schema: Schema) -> Suspects:
    """Confident learning."""
    found = suspicion(answers[PROBABILITIES], targets[CLASS])
    return Suspects(found.score, [schema.classes[k] for k in found.suggested], found.flagged, found.estimate)


def regret(wanted: Arrays, answered: Arrays, schema: Schema) -> Floats:
    """How much less probable the chosen class is than the best one, f32 [N]."""
    probable, said = wanted[PROBABILITIES], answered[PROBABILITIES].argmax(axis=1)
    found: Floats = probable.max(axis=1) - np.take_along_axis(probable, said[:, None], axis=1)[:, 0]
    return found


def units(schema: Schema) -> dict[str, Floats]:
    """Probabilities are."""
    return {PROBABILITIES: np.ones(len(schema.classes), np.float32)}


def metrics(answers: Arrays, targets: Targets, schema: Schema) -> dict[str, Any]:
    """Plain floats, ready for JSON.

    `accuracy_interval` is the 95 % Wilson interval; `ece` has 15 bins of equal width (Guo et al., ICML 2017);
    `log_loss` is in nats with probabilities clipped at 1e-7; balanced accuracy averages over the classes that occur,
    macro F1 over those that occur or were predicted, as scikit-learn does.
    """
    classes, found, of_truth = schema.classes, chosen(answers, targets), held_out(answers, targets, schema).of_truth
    right = found.said == found.truth
    confusion = _confusion(found.truth, found.said, len(classes))
    per_class = _per_class(confusion)
    report = {
        "examples": len(right),
        "accuracy": float(right.mean()),
        "accuracy_interval": wilson(int(right.sum()), len(right)),
        "balanced_accuracy": float(per_class["recall"][per_class["support"] > 0].mean()),
        "macro_f1": float(per_class["f1"][per_class["occurs"]].mean()),
        "log_loss": log_loss(of_truth),
        "ece": ece(found.confidence, right),
        "majority_baseline": float(per_class["support"].max() / len(right)),
        "per_class": {label: _row(per_class, k) for k, label in enumerate(classes)},
    }
    if len(classes) <= MAX_CONFUSION:
        report["confusion"] = {"labels": list(classes), "matrix": confusion.tolist()}
    return report


def _check_counts(counts: Counter[str]) -> None:
    if len(counts) < MIN_CLASSES:
        only = f"only {next(iter(counts))[:50]!r}" if counts else "no labels"
        raise NotEnoughData(f"there must be at least {MIN_CLASSES} classes, there is {only}; add examples of another")
    short = sorted(label for label, count in counts.items() if count < MIN_EXAMPLES)
    if short:
        named = some([repr(label[:50]) for label in short])
        error = NotEnoughData(
            f"each class needs at least {MIN_EXAMPLES} different examples, with fewer: {named}; "
            "add examples to these classes or leave them out",
            item=short[0],
        )
        raise each(error, {label: f"{counts[label]} of at least {MIN_EXAMPLES} different examples" for label in short})


def _confusion(targets: Indices, predicted: Indices, count: int) -> Indices:
    """Rows are true classes, columns predicted ones; i64 [K, K]."""
    return np.bincount(targets * count + predicted, minlength=count * count).reshape(count, count)


def _per_class(confusion: Indices) -> dict[str, Any]:
    hits, support, predicted = confusion.diagonal(), confusion.sum(axis=1), confusion.sum(axis=0)
    return {
        "precision": hits / np.maximum(predicted, 1),
        "recall": hits / np.maximum(support, 1),
        "f1": 2 * hits / np.maximum(support + predicted, 1),
        "support": support,
        "occurs": (support + predicted) > 0,
    }


def _row(per_class: dict[str, Any], k: int) -> dict[str, float | int]:
    scores = {name: float(per_class[name][k]) for name in ("precision", "recall", "f1")}
    return scores | {"support": int(per_class["support"][k])}
