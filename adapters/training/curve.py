"""The learning curve: would more images help? The winner's method and setting on a quarter and a half of the data.

Measured on the same held-out examples as the head itself, whose answers are the last point. It is a step after the
version is live: two small fits a fold are about half of a race (0.16 s beside 0.45 s for 1,000 examples of 1,280
dimensions on one core), which nobody should wait for who wants to predict.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapters import methods
from adapters.figures import wilson
from adapters.inputs import Inputs
from adapters.methods import Setting
from adapters.training import programs
from adapters.types import Embeddings, Floats, Indices

SHARES = (0.25, 0.5)
SMALLEST = 8  # training examples a class: two are left in a quarter
HELD_OUT = 600  # examples: folds beyond these make the interval narrower more slowly than they cost
WORTH = 0.01  # of accuracy: a last doubling that brought less than this is not worth another one
Z = 1.959964
Json = dict[str, Any]
Learn = Callable[[Indices, Indices], Floats]  # (positions to fit, positions to ask, M) → outputs f32 [M, K]


@dataclass(frozen=True, slots=True)
class Trial:
    """What is trained on and what is measured with: a fold, or all and the test set."""

    train: Indices
    held: Indices


def learning_curve(
    targets: Indices,
    classes: Sequence[str],
    groups: Indices,
    trials: Sequence[Trial],
    answers: Floats,
    learn: Learn,
    seed: int,
) -> Json:
    """{"points", "gain", "more_images", "answer"}, or {"skipped": why}.

    Targets and near-duplicate groups i64 [N]; `answers` f32 [M, K] are the head's for the held-out examples of all
    trials, in their order; `learn` fits to some of the examples and answers for others.
    """
    short = _too_small(targets, classes, trials)
    if short:
        return {"skipped": short}
    chosen = _chosen(trials)
    truth = targets[np.concatenate([t.held for t in chosen])]
    rank = nested(targets, groups, seed)
    points, right = [], []
    for share in (*SHARES, 1.0):
        rows = [t.train[_with_every_class(rank[t.train], targets[t.train], share)] for t in chosen]
        if share < 1:
            said = np.concatenate([learn(fitted, t.held) for fitted, t in zip(rows, chosen, strict=True)])
        else:
            said = answers[: len(truth)]
        right.append(said.argmax(axis=1) == truth)
        points.append(_point(share, round(float(np.mean([len(r) for r in rows]))), right[-1]))
    gain = _gain(right[-2], right[-1]) | {"from": points[-2]["examples"], "to": points[-1]["examples"]}
    return {"points": points, "gain": gain} | _verdict(gain, points)


def learner(embeddings: Embeddings, targets: Indices, classes: int, method: str, setting: Setting, seed: int) -> Learn:
    """The winner of a race, ready to be fitted to other examples: embeddings f32 [N, D], targets i64 [N]."""

    def learn(rows: Indices, held: Indices) -> Floats:
        x = torch.from_numpy(embeddings[rows]).to(programs.device())
        y = torch.from_numpy(targets[rows]).to(x.device)
        fitted = methods.get(method).fit(Inputs(x), y, classes, [setting], seed, lambda: None)
        return programs.run(fitted[0], embeddings[held])

    return learn


def nested(targets: Indices, groups: Indices, seed: int) -> Floats:
    """A rank in 0…1 for each example, f32 [N]: those below s are a stratified share s, and contain those below less.

    Near-duplicates have one rank: half of the pictures must not be all of them once more.
    """
    order = np.random.default_rng(seed).permutation(len(targets))
    first = np.full(int(groups.max()) + 1, -1)
    first[groups[order[::-1]]] = order[::-1]  # the first member of each group in random order stands for it
    heads = order[first[groups[order]] == order]
    heads = heads[np.argsort(targets[heads], kind="stable")]  # class by class, each in random order
    sizes = np.bincount(groups)[groups[heads]]
    before = np.cumsum(sizes) - sizes
    opens = np.flatnonzero(np.diff(targets[heads], prepend=-1))  # where a class begins
    spans = np.diff(np.append(opens, len(heads)))
    totals = np.add.reduceat(sizes, opens)
    rank = np.zeros(len(targets), np.float32)
    rank[heads] = (before - np.repeat(before[opens], spans)) / np.repeat(totals, spans)
    return rank[first[groups]]


def _too_small(targets: Indices, classes: Sequence[str], trials: Sequence[Trial]) -> str:
    """Why there is no curve; empty when there is one."""
    counts = np.min([np.bincount(targets[t.train], minlength=len(classes)) for t in trials], axis=0)
    least = int(counts.argmin())
    if counts[least] >= SMALLEST:
        return ""
    return (
        f"too few images for a learning curve: {classes[least]!r} has {counts[least]} to train on beside those held "
        f"out, and a quarter of fewer than {SMALLEST} says nothing; add images of it"
    )


def _chosen(trials: Sequence[Trial]) -> list[Trial]:
    """As many trials as hold out enough."""
    before = np.cumsum([0, *(len(t.held) for t in trials)])
    return [t for t, held in zip(trials, before[:-1], strict=True) if held < HELD_OUT]


def _with_every_class(rank: Floats, targets: Indices, share: float) -> NDArray[np.bool_]:
    """Ranks below a share, and the lowest of a class that has none there: a fit wants all of them."""
    taken = rank < share
    for k in set(np.unique(targets).tolist()) - set(np.unique(targets[taken]).tolist()):
        members = np.flatnonzero(targets == k)
        taken[members[rank[members].argmin()]] = True
    return taken


def _point(share: float, size: int, right: NDArray[np.bool_]) -> Json:
    return {
        "share": share, "examples": int(size), "accuracy": float(right.mean()),
        "interval": wilson(int(right.sum()), len(right)), "held_out": len(right),
    }  # fmt: skip


def _gain(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Json:
    """The difference of two accuracies on the same examples with its 95 % interval.

    Agresti & Min's adjusted interval for paired shares (Statistics in Medicine 2005): half an example is added to each
    cell of the table, so that no difference seen is not the same as none possible.
    """
    won, lost, n = int((after & ~before).sum()), int((before & ~after).sum()), len(after) + 2
    middle = (won - lost) / n
    half = Z * float(np.sqrt(max((won + lost + 1) - (won - lost) ** 2 / n, 0))) / n
    return {"accuracy": (won - lost) / len(after), "interval": [middle - half, middle + half]}


def _verdict(gain: Json, points: list[Json]) -> Json:
    low, high = gain["interval"]
    seen = (
        f"From {gain['from']:,} to {gain['to']:,} training images accuracy moved by {_points(gain['accuracy'])} points "
        f"(95 % interval {_points(low)} to {_points(high)})."
    )
    if low > 0:
        return {"more_images": "yes", "answer": f"Most likely yes. {seen} {_outlook(points)}"}
    if high < WORTH:
        return {"more_images": "no", "answer": f"Hardly. {seen} Better labels or another backbone would do more."}
    return {"more_images": "unclear", "answer": f"Cannot be told yet. {seen} Chance could have done that."}


def _outlook(points: list[Json]) -> str:
    """Errors fall as a power of the number of examples (Hestness et al. 2017): by the same factor each doubling."""
    before, after = 1 - points[-2]["accuracy"], 1 - points[-1]["accuracy"]
    expected = 1 - after * after / before
    return f"If the trend holds, twice as many would reach about {100 * expected:.1f} %."


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
