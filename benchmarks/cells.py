"""Blood cells as several labels (which kinds are there) and as numbers (how many): `auto` against scikit-learn.

    python -m benchmarks cells

A third of the 364 photos is the test set of a seed; as many of the rest as `EXAMPLES` says are trained on. Peers tune
themselves: LogisticRegressionCV label by label over 7 C with 3 folds by log-loss, RidgeClassifierCV, RidgeCV, 20
nearest neighbours, SVR over 3 C, on `pooled`; `auto` may read taps. Differences are paired: same photos of each kind.
"""

import time
import warnings
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from adapters import tasks
from adapters.backbones.parts import POOLED, TAPS
from adapters.training import programs
from adapters.training.data.split import split
from adapters.training.race.race import race
from adapters.types import Embeddings, Floats, Schema
from benchmarks import datasets, photo_sets, record

KINDS = ("Platelets", "RBC", "WBC")
COUNTED = 2  # the first ones: nearly every photo shows one white cell
EXAMPLES = (20, 50, 100, 0)  # 0: all of the rest
SEEDS = 5
TOLD = {"classification": "class", "multilabel": "labels", "regression": "values"}  # by task, the array of its targets
Peer = Callable[[Embeddings, Floats, Embeddings], Floats]  # train, targets, test → answers


def main() -> dict[str, Any]:
    """Both tasks, every number of examples, five seeds."""
    embeddings, _, groups = datasets.load("platelets", taps=True)
    numbers = counts()
    found: dict[str, Any] = {}
    for name, targets, peers in (
        ("multilabel", (numbers > 0).astype(np.float32), LABEL_PEERS),
        ("regression", numbers[:, :COUNTED].astype(np.float32), NUMBER_PEERS),
    ):
        rows = [
            row
            for examples in EXAMPLES
            for seed in range(SEEDS)
            for row in _round(name, embeddings, targets, groups, peers, examples, seed)
        ]
        found |= {f"{name}_{key}": value for key, value in _summary(rows, peers).items()}
    return found


def counts() -> np.ndarray:
    """How many cells of each kind every photo shows, i64 [N, 3], in the order of the embeddings."""
    rows = []
    for file in photo_sets.bccd_files():
        names = Counter(o.findtext("name") for o in ET.parse(file).getroot().iter("object"))
        rows.append([names[kind] for kind in KINDS])
    return np.array(rows)


def _round(
    name: str, x: Embeddings, y: Floats, groups: np.ndarray, peers: dict[str, Peer], examples: int, seed: int
) -> list[dict[str, Any]]:
    random = np.random.default_rng(seed)
    order = random.permutation(np.unique(groups))
    test = np.flatnonzero(np.isin(groups, order[: len(order) // 3]))
    rest = random.permutation(np.setdiff1d(np.arange(len(x)), test))
    train = np.sort(rest[:examples] if examples else rest)
    rows = []
    for method in random.permutation(["auto", *peers]).tolist():
        began = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what peers say of convergence and of rare labels
            fit = _auto(name, groups[train]) if method == "auto" else peers[method]
            seen = x if method == "auto" else x[:, : datasets.POOLED]
            said = fit(seen[train], y[train], seen[test])
        seconds = time.perf_counter() - began
        rows.append({"method": method, "examples": examples, "seed": seed, "seconds": seconds})
        rows[-1] |= _figures(name, said, y[test], y[train])
    return rows


def _figures(name: str, said: Floats, truth: Floats, taught: Floats) -> dict[str, float]:
    """Higher is better: mAP and less the log-loss of labels, R² in what was taught and less the mean absolute error."""
    task = tasks.get(name)
    names = KINDS[: truth.shape[1]]
    answers, targets, known = task.answers(said), {TOLD[name]: truth}, {TOLD[name]: taught}
    schema = Schema(names, task.decide(task.answers(taught), known, names) if name == "regression" else {})
    figures = task.metrics(answers, targets, schema)
    if name == "multilabel":
        return {"main": figures["mean_average_precision"], "second": -figures["log_loss"]}
    return {"main": float(task.shares(answers, targets, schema).mean()), "second": -figures["mae"]}


def _auto(name: str, groups: np.ndarray) -> Peer:
    def fit(x: Embeddings, y: Floats, asked: Embeddings) -> Floats:
        nothing: list[Any] = [None] * len(x)
        task, targets = tasks.get(name), {TOLD[name]: y}
        parts = split(task.strata(targets), groups, nothing, nothing, 0)
        lengths = {TAPS: x.shape[1], POOLED: datasets.POOLED}
        result = race(
            x, targets, KINDS[: y.shape[1]], parts, task, "auto", {}, 0, lambda _: None, lambda: None, lengths=lengths
        )
        return programs.run(result.program, asked)

    return fit


def _each(make: Callable[[np.ndarray], Any]) -> Peer:
    """One classifier a label; a label that all or none of the training photos have is answered with that."""
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def fit(x: Embeddings, y: Floats, asked: Embeddings) -> Floats:
        columns = []
        for column in y.T.astype(int):
            if min(column.sum(), len(column) - column.sum()) < 2:
                columns.append(np.full(len(asked), column.mean()))
                continue
            model = make_pipeline(StandardScaler(), make(column)).fit(x, column)
            if hasattr(model, "predict_proba"):
                columns.append(model.predict_proba(asked)[:, 1])
            else:
                columns.append(1 / (1 + np.exp(-model.decision_function(asked))))
        return np.stack(columns, axis=1).astype(np.float32)

    return fit


def _logistic(column: np.ndarray) -> Any:
    from sklearn.linear_model import LogisticRegressionCV

    folds = min(3, int(min(column.sum(), len(column) - column.sum())))
    return LogisticRegressionCV(Cs=7, cv=folds, scoring="neg_log_loss", max_iter=200)


def _ridge_labels(column: np.ndarray) -> Any:
    from sklearn.linear_model import RidgeClassifierCV

    return RidgeClassifierCV(alphas=np.logspace(-2, 5, 8))


def _neighbour_labels(column: np.ndarray) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(min(20, len(column)), weights="distance", metric="cosine")


def _numbers(make: Callable[[], Any]) -> Peer:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def fit(x: Embeddings, y: Floats, asked: Embeddings) -> Floats:
        found: Floats = make_pipeline(StandardScaler(), make()).fit(x, y).predict(asked).astype(np.float32)
        return found

    return fit


def _ridge() -> Any:
    from sklearn.linear_model import RidgeCV

    return RidgeCV(alphas=np.logspace(-2, 5, 8), alpha_per_target=True)


def _neighbours() -> Any:
    from sklearn.neighbors import KNeighborsRegressor

    return KNeighborsRegressor(20, weights="distance", metric="cosine")


def _svr() -> Any:
    from sklearn.model_selection import GridSearchCV
    from sklearn.multioutput import MultiOutputRegressor
    from sklearn.svm import SVR

    return MultiOutputRegressor(GridSearchCV(SVR(), {"C": [0.3, 1, 10]}, cv=3))


LABEL_PEERS = {
    "LogisticRegressionCV": _each(_logistic), "RidgeClassifierCV": _each(_ridge_labels),
    "kNN-20": _each(_neighbour_labels),
}  # fmt: skip
NUMBER_PEERS = {"RidgeCV": _numbers(_ridge), "kNN-20": _numbers(_neighbours), "SVR": _numbers(_svr)}


def _summary(rows: list[dict[str, Any]], peers: dict[str, Peer]) -> dict[str, Any]:
    """By peer: wins and losses in the main figure, the mean paired differences, and seconds of each."""
    table = {(r["examples"], r["seed"], r["method"]): r for r in rows}
    keys = sorted({key[:2] for key in table})
    found: dict[str, Any] = {}
    for peer in peers:
        pairs = [(table[*k, "auto"], table[*k, peer]) for k in keys]
        main, second = (np.array([a[f] - b[f] for a, b in pairs]) for f in ("main", "second"))
        found[f"against_{peer}"] = {
            "wins": int((main > 0).sum()), "losses": int((main < 0).sum()),
            "main": float(main.mean()), "main_interval": 1.96 * float(main.std(ddof=1)) / len(main) ** 0.5,
            "second": float(second.mean()),
        }  # fmt: skip
    for size in EXAMPLES:
        mine = [r["main"] for r in rows if r["examples"] == size and r["method"] == "auto"]
        found[f"auto_{size or 'all'}"] = record.spread(mine)
    found["seconds"] = {m: float(np.mean([r["seconds"] for r in rows if r["method"] == m])) for m in ["auto", *peers]}
    return found
