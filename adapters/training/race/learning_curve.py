"""The learning curve: would more examples help? The winner's method and setting on a quarter and a half of the data.

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
from adapters.arrays import joined, take
from adapters.figures import Z, around_mean, wilson
from adapters.methods import Setting
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.embedding.views import Rows
from adapters.training.race import objectives
from adapters.types import Arrays, Embeddings, Floats, Indices, Schema, Step, Targets

SHARES = (0.25, 0.5)
SMALLEST = 8  # training examples a class: two are left in a quarter
HELD_OUT = 600  # examples: folds beyond these make the interval narrower more slowly than they cost
WORTH = 0.01  # of the share: a last doubling that brought less than this is not worth another one
Json = dict[str, Any]
Learn = Callable[[Indices, Indices], Arrays]  # (positions to fit, positions to ask, M) → M answers
Judge = Callable[[Arrays, Indices], Floats]  # (M answers, whose they are) → the task's shares f32 [M]


@dataclass(frozen=True, slots=True)
class Trial:
    """What is trained on and what is measured with: a fold, or all and the test set."""

    train: Indices
    held: Indices


def learning_curve(
    strata: Indices,
    names: Sequence[str],
    groups: Indices,
    trials: Sequence[Trial],
    answers: Arrays,
    learn: Learn,
    judge: Judge,
    measure: str,
    seed: int,
    noun: str = "input",
) -> Json:
    """{"measure", "points", "gain", "more_inputs", "answer"}, or {"skipped": why}.

    The task's strata and near-duplicate groups i64 [N]; `names` of strata, as far as they have any; `answers`
    are the head's for the held-out examples of all trials, in their order; `learn` fits to some of the examples
    and answers for others, `judge` says how good answers are, and `measure` what its mean is called; `noun` is what
    one input is called.
    """
    short = _too_small(strata, names, trials, noun)
    if short:
        return {"skipped": short}
    chosen = _chosen(trials)
    asked = np.concatenate([t.held for t in chosen])
    rank = nested(strata, groups, seed)
    points, shares = [], []
    for share in (*SHARES, 1.0):
        rows = [t.train[_with_every_class(rank[t.train], strata[t.train], share)] for t in chosen]
        if share < 1:
            said = joined([learn(fitted, t.held) for fitted, t in zip(rows, chosen, strict=True)])
        else:
            said = take(answers, slice(len(asked)))
        shares.append(judge(said, asked))
        points.append(_point(share, round(float(np.mean([len(r) for r in rows]))), shares[-1]))
    gain = _gain(shares[-2], shares[-1]) | {"from": points[-2]["examples"], "to": points[-1]["examples"]}
    return {"measure": measure, "points": points, "gain": gain} | _verdict(gain, points, measure, noun)


def learner(
    embeddings: Embeddings,
    views: Embeddings,
    targets: Targets,
    outputs: int,
    method: str,
    setting: Setting,
    seed: int,
    task: Task,
    finish: tuple[Step, ...],
) -> Learn:
    """The winner of a race, ready to be fitted to other examples, with its calibration (`finish`) left as it is.

    Embeddings f32 [N, D], and the views f32 [V, N, D] that it was trained on beside them.
    """
    fitted_to, everyone = task.fitted(targets), np.arange(len(embeddings))
    device = programs.device()
    source = Rows(torch.from_numpy(embeddings).to(device), torch.from_numpy(views).to(device), everyone)
    scaled, _ = objectives.get(task.OBJECTIVE).scaled(fitted_to, everyone)

    def learn(rows: Indices, held: Indices) -> Arrays:
        # One fit to each: nothing is shared, and a half of many examples is many, too.
        x, y = source.in_place(rows), source.repeated(torch.from_numpy(scaled[rows])).to(device)
        fitted = methods.get(method).fit(x, y, outputs, [setting], seed, lambda: None, objective=task.OBJECTIVE)
        return task.answers(programs.run(fitted[0].then(*finish), embeddings[held]))

    return learn


def judge(task: Task, targets: Targets, schema: Schema) -> Judge:
    """The task's shares of answers to some of the examples."""
    return lambda answers, rows: task.shares(answers, take(targets, rows), schema)


def nested(targets: Indices, groups: Indices, seed: int) -> Floats:
    """A rank in 0…1 for each example, f32 [N]: those below s are a stratified share s, and contain those below less.

    Near-duplicates have one rank: half of the examples must not be all of them once more.
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


def _too_small(strata: Indices, names: Sequence[str], trials: Sequence[Trial], noun: str) -> str:
    """Why there is no curve; empty when there is one."""
    if not trials:
        return f"too few {noun}s for a learning curve: nothing could be held out"
    count = int(strata.max()) + 1
    counts = np.min([np.bincount(strata[t.train], minlength=count) for t in trials], axis=0)
    counts = np.where(np.bincount(strata, minlength=count) > 0, counts, SMALLEST)
    least = int(counts.argmin())
    if counts[least] >= SMALLEST:
        return ""
    which = repr(names[least]) if least < len(names) else f"one kind of {noun}s"
    return (
        f"too few {noun}s for a learning curve: {which} has {counts[least]} to train on beside those held "
        f"out, and a quarter of fewer than {SMALLEST} says nothing; add {noun}s of it"
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


def _point(share: float, size: int, shares: Floats) -> Json:
    return {
        "share": share, "examples": int(size), "score": float(shares.mean()), "interval": _interval(shares),
        "held_out": len(shares),
    }  # fmt: skip


def _interval(shares: Floats) -> list[float]:
    return wilson(int(shares.sum()), len(shares)) if _yes_or_no(shares) else around_mean(shares)


def _yes_or_no(shares: Floats) -> bool:
    return bool(((shares == 0) | (shares == 1)).all())


def _gain(before: Floats, after: Floats) -> Json:
    """The difference of two means on the same examples with its 95 % interval.

    Of right and wrong Agresti & Min's adjusted interval for paired shares (Statistics in Medicine 2005): half an
    example is added to each cell of the table, so that no difference seen is not the same as none possible.
    """
    if not (_yes_or_no(before) and _yes_or_no(after)):
        return {"score": float((after - before).mean()), "interval": around_mean(after - before)}
    won, lost, n = int((after > before).sum()), int((before > after).sum()), len(after) + 2
    middle = (won - lost) / n
    half = Z * float(np.sqrt(max((won + lost + 1) - (won - lost) ** 2 / n, 0))) / n
    return {"score": (won - lost) / len(after), "interval": [middle - half, middle + half]}


def _verdict(gain: Json, points: list[Json], measure: str, noun: str) -> Json:
    low, high = gain["interval"]
    seen = (
        f"From {gain['from']:,} to {gain['to']:,} training {noun}s {measure} moved by "
        f"{_points(gain['score'])} points "
        f"(95 % interval {_points(low)} to {_points(high)})."
    )
    if low > 0:
        return {"more_inputs": "yes", "answer": f"Most likely yes. {seen} {_outlook(points)}"}
    if high < WORTH:
        return {"more_inputs": "no", "answer": f"Hardly. {seen} Better labels or another backbone would do more."}
    return {"more_inputs": "unclear", "answer": f"Cannot be told yet. {seen} Chance could have done that."}


def _outlook(points: list[Json]) -> str:
    """Errors fall as a power of the number of examples (Hestness et al. 2017): by the same factor each doubling."""
    before, after = 1 - points[-2]["score"], 1 - points[-1]["score"]
    expected = 1 - after * after / before
    return f"If the trend holds, twice as many would reach about {100 * expected:.1f} %."


def _points(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
