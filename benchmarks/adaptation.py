"""`auto` against scikit-learn on the same embeddings and splits: accuracy, log-loss and seconds, by shots a class.

    python -m benchmarks adaptation             # everything, recorded: half an hour
    python -m benchmarks.adaptation [--data weather digits] [--seeds 2] [--shots 1 2 5 10 50 full]

A third of each data set, whole groups of near-duplicates, is the test set of a seed; `shots` examples of each class of
the rest are trained on. Peers tune themselves on those, as users would: LogisticRegressionCV over 7 C with 3 folds by
log-loss, LDA with Ledoit–Wolf shrinkage, RidgeClassifierCV, 20 nearest neighbours, StandardScaler + SVC over 3 C. Each
is given `pooled`, as a notebook would have it, and once more all of an embedding. Differences are paired: same
embeddings, same training examples, same test examples.
"""

import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from adapters import tasks
from adapters.backbones.parts import POOLED, TAPS
from adapters.runtime.onnx import processor
from adapters.training import programs
from adapters.training.data.split import Split, split
from adapters.training.race.race import race
from adapters.types import Embeddings, Indices
from benchmarks import datasets, options, record

DATA = ("weather", "digits", "cells", "gtsrb")
SEEDS = 3
SHOTS = ("2", "10", "50", "full")
TEST_SHARE = 1 / 3
WITH_TAPS = ", taps"  # behind the name of a peer that is given all of an embedding
FLOOR = 1e-7  # of a probability in the log-loss

Fitted = Callable[[Embeddings], np.ndarray]  # embeddings [M, D] → scores or probabilities [M, K]


def main() -> dict[str, Any]:
    """Measure everything and print; returns the results."""
    return results(measure(DATA, SEEDS, SHOTS))


def measure(names: Sequence[str], seeds: int, shots: Sequence[str]) -> list[dict[str, Any]]:
    """Measure and print; a row for each contestant, seed, number of shots and data set."""
    torch.set_num_threads(max(1, processor.cores() // 2))  # as the worker has it
    rows = []
    for name in names:
        data = datasets.load(name, taps=True)
        for count in shots:
            for seed in range(seeds):
                rows += _round(name, *data, count, seed)
            _show(name, count, rows)
    print(_summary(rows))
    return rows


def _round(
    name: str, embeddings: Embeddings, targets: Indices, groups: Indices, count: str, seed: int
) -> list[dict[str, Any]]:
    """Every contestant once, in random order, so that none profits from a warm cache."""
    random = np.random.default_rng(seed)
    train, test = drawn(targets, groups, count, random)
    if train is None:
        return []
    contestants = {"auto": _auto} | PEERS | {f"{peer}{WITH_TAPS}": fit for peer, fit in PEERS.items()}
    if count == "1":  # LDA refuses: one example a class has no covariance
        contestants = {name: fit for name, fit in contestants.items() if not name.startswith("LDA")}
    found = []
    for method in random.permutation(list(contestants)).tolist():
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peers say of convergence and of rare classes
            seen = embeddings if method == "auto" or method.endswith(WITH_TAPS) else embeddings[:, : datasets.POOLED]
            fitted, probable = contestants[method](seen[train], targets[train], groups[train])
            answers = fitted(seen[test])
        row = {"data": name, "shots": count, "seed": seed, "method": method, "examples": len(train)}
        row |= {"seconds": time.perf_counter() - began, "accuracy": float((answers.argmax(1) == targets[test]).mean())}
        found.append(row | {"log_loss": log_loss(answers, targets[test]) if probable else None})
    return found


def drawn(
    targets: Indices, groups: Indices, count: str, random: Any, share: float = TEST_SHARE
) -> tuple[Indices | None, Indices]:
    """Positions to train on and to test on; no training positions where the classes are smaller than asked."""
    names = random.permutation(np.unique(groups))
    test = np.flatnonzero(np.isin(groups, names[: round(share * len(names))]))
    rest = random.permutation(np.setdiff1d(np.arange(len(targets)), test))
    test = test[np.isin(targets[test], targets[rest])]
    if count == "full":
        return np.sort(rest), test
    chosen = [rest[targets[rest] == k][: int(count)] for k in range(int(targets.max()) + 1)]
    if min(map(len, chosen)) < int(count):
        return None, test
    return np.sort(np.concatenate(chosen)), test


def log_loss(probabilities: np.ndarray, targets: Indices) -> float:
    of_truth = probabilities[np.arange(len(targets)), targets].astype(np.float64)
    return float(-np.log(of_truth.clip(FLOOR, 1)).mean())


def _auto(embeddings: Embeddings, targets: Indices, groups: Indices) -> tuple[Fitted, bool]:
    nothing: list[Any] = [None] * len(targets)
    classes = [str(k) for k in range(int(targets.max()) + 1)]
    task = tasks.get("classification")
    if np.bincount(targets).min() > 1:
        parts = all_of(split(targets, groups, nothing, nothing, 0))
    else:
        everything, none = np.arange(len(targets)), np.zeros(0, np.int64)
        parts = Split(everything, none, none, [], "cross-validation", "one example a class")
    lengths = {TAPS: embeddings.shape[1], POOLED: datasets.POOLED}
    given = (embeddings, {"class": targets}, classes, parts)
    result = race(*given, task, "auto", {}, 0, lambda _: None, lambda: None, lengths=lengths)
    return lambda x: programs.run(result.program, x), True


def all_of(parts: Split) -> Split:
    """Without a test set of its own: that is the benchmark's."""
    if not len(parts.test):
        return parts
    train = np.sort(np.concatenate([parts.train, parts.test]))
    folds = [(np.setdiff1d(np.sort(np.concatenate([train, parts.val])), val), val) for _, val in parts.folds]
    return Split(train, parts.val, np.zeros(0, np.int64), folds, "cross-validation", "", parts.dropped, parts.groups)


def _logistic(embeddings: Embeddings, targets: Indices, groups: Indices) -> tuple[Fitted, bool]:
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    folds = min(3, int(np.bincount(targets).min()))
    if folds < 2:
        model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    else:
        cv = LogisticRegressionCV(Cs=7, cv=folds, scoring="neg_log_loss", max_iter=200, n_jobs=1)
        model = make_pipeline(StandardScaler(), cv)
    return model.fit(embeddings, targets).predict_proba, True


def _lda(embeddings: Embeddings, targets: Indices, groups: Indices) -> tuple[Fitted, bool]:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(embeddings, targets).predict_proba, True


def _ridge(embeddings: Embeddings, targets: Indices, groups: Indices) -> tuple[Fitted, bool]:
    from sklearn.linear_model import RidgeClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(-2, 5, 8)))
    scores = model.fit(embeddings, targets).decision_function
    return (lambda x: np.atleast_2d(scores(x))), False


def _neighbours(embeddings: Embeddings, targets: Indices, groups: Indices) -> tuple[Fitted, bool]:
    from sklearn.neighbors import KNeighborsClassifier

    model = KNeighborsClassifier(min(20, len(targets)), weights="distance", metric="cosine")
    return model.fit(embeddings, targets).predict_proba, True


def _svc(embeddings: Embeddings, targets: Indices, groups: Indices) -> tuple[Fitted, bool]:
    from sklearn.model_selection import GridSearchCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    folds = min(3, int(np.bincount(targets).min()))
    model = make_pipeline(StandardScaler(), SVC(decision_function_shape="ovr"))
    if folds >= 2:
        model = GridSearchCV(model, {"svc__C": [0.3, 1, 10]}, cv=folds)
    return model.fit(embeddings, targets).decision_function, False


PEERS: dict[str, Callable[..., tuple[Fitted, bool]]] = {
    "LogisticRegressionCV": _logistic, "LDA": _lda, "RidgeClassifierCV": _ridge, "kNN-20": _neighbours, "SVC": _svc,
}  # fmt: skip


RIVALS = [f"{peer}{given}" for given in ("", WITH_TAPS) for peer in PEERS]


def _pairs(rows: list[dict[str, Any]], figure: str, peer: str, **where: Any) -> np.ndarray:
    """auto less peer, seed by seed."""
    chosen = [r for r in rows if all(r[k] == v for k, v in where.items()) and r[figure] is not None]
    table = {(r["data"], r["shots"], r["seed"], r["method"]): r[figure] for r in chosen}
    keys = sorted({key[:3] for key in table})
    return np.array(
        [table[*k, "auto"] - table[*k, peer] for k in keys if (*k, "auto") in table and (*k, peer) in table]
    )


def _show(name: str, count: str, rows: list[dict[str, Any]]) -> None:
    here = [r for r in rows if r["data"] == name and r["shots"] == count]
    for method in ["auto", *RIVALS]:
        mine = [r for r in here if r["method"] == method]
        if not mine:
            continue
        accuracy, seconds = (np.mean([r[f] for r in mine]) for f in ("accuracy", "seconds"))
        losses = [r["log_loss"] for r in mine if r["log_loss"] is not None]
        loss = f"{np.mean(losses):.3f}" if losses else "–"
        against = "" if method == "auto" else _interval(_pairs(here, "accuracy", method))
        print(f"  {name:9} {count:>5} {method:22} {accuracy:.4f} {loss:>7} {seconds:8.2f} s  {against}", flush=True)


def _interval(differences: np.ndarray) -> str:
    """The mean paired difference and its 95 % interval over seeds."""
    half = 1.96 * differences.std(ddof=1) / len(differences) ** 0.5 if len(differences) > 1 else float("nan")
    return f"mean {differences.mean():+.4f} ± {half:.4f}"


def _summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By peer: wins and losses in accuracy, mean differences, and time against LogisticRegressionCV's."""
    found: dict[str, Any] = {}
    for peer in RIVALS:
        accuracy, loss = _pairs(rows, "accuracy", peer), _pairs(rows, "log_loss", peer)
        found[peer] = {
            "wins": int((accuracy > 0).sum()), "losses": int((accuracy < 0).sum()), "ties": int((accuracy == 0).sum()),
            "accuracy": float(accuracy.mean()), "log_loss": float(loss.mean()) if len(loss) else None,
        }  # fmt: skip
    seconds = {m: sum(r["seconds"] for r in rows if r["method"] == m) for m in ("auto", "LogisticRegressionCV")}
    found["seconds_ratio"] = seconds["auto"] / seconds["LogisticRegressionCV"]
    return found


def results(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows → what is recorded: accuracy, log-loss and seconds of each contestant, and paired differences by seed."""
    found: dict[str, Any] = {"notes": _notes(_summary(rows))}
    for name, count in dict.fromkeys((r["data"], r["shots"]) for r in rows):
        here = [r for r in rows if (r["data"], r["shots"]) == (name, count)]
        for method in ["auto", *RIVALS]:
            mine = [r for r in here if r["method"] == method]
            figures = {f: [r[f] for r in mine if r[f] is not None] for f in ("accuracy", "log_loss", "seconds")}
            if method != "auto" and mine:
                pairs = _pairs(here, "accuracy", method)
                figures[f"accuracy, auto less this ({_interval(pairs)})"] = pairs.tolist()
            found |= {f"{name}, {count}, {method}: {f}": record.spread(v) for f, v in figures.items() if v}
    return found


def _notes(summary: dict[str, Any]) -> dict[str, str]:
    ratio = f"{summary['seconds_ratio']:.2f} of LogisticRegressionCV's, all rows together"
    against = {
        f"auto against {peer}": f"{s['wins']} wins, {s['losses']} losses, {s['ties']} ties; accuracy "
        f"{s['accuracy']:+.3f}" + (f", log-loss {s['log_loss']:+.2f} on average" if s["log_loss"] is not None else "")
        for peer, s in summary.items()
        if peer in RIVALS
    }
    return against | {"seconds of auto": ratio}


if __name__ == "__main__":
    measure(*options.rounds(__doc__, options.Rounds(DATA, SEEDS, SHOTS)))
