"""banking77, 77 intents with their own test set: `auto` against scikit-learn, by examples a class.

    python -m benchmarks banking
    python -m benchmarks.banking [--seeds 5] [--shots 5 10 50 full]   # of some; nothing recorded

LogisticRegressionCV (7 C, 3 folds, by log-loss) is given the same embeddings, standardised, and once more TF-IDF of
words and pairs of words. A seed draws the examples; with all of them it only shuffles folds, so that scikit-learn, for
which that changes nothing, runs once. Copies across the drawn examples are grouped as a job groups them.
"""

import csv
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapters import tasks
from adapters.modalities import text as modality
from adapters.modalities.text import alike
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.onnx import processor
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.training import programs
from adapters.training.data.duplicates import groups
from adapters.training.data.split import split
from adapters.training.race.race import race
from adapters.types import Backbone
from benchmarks import options, photo_sets, record, server
from benchmarks.adaptation import all_of, log_loss
from service.settings import Settings

BACKBONE = "minilm"
SEEDS = 5
SHOTS = ("5", "10", "50", "full")
MOST_WORDS = 5_000  # columns of TF-IDF
# What others have published of this data set with other encoders, for orientation: not run here.
PUBLISHED = {
    "SetFit, paraphrase-distilroberta-base-v2 fine-tuned, 25 a class": "accuracy 0.8529 "
    "(huggingface.co/nickprock/setfit-banking77)",
}


def main(seeds: int = SEEDS, shots: Sequence[str] = SHOTS) -> dict[str, Any]:
    """Measure and print; returns the results."""
    torch.set_num_threads(max(1, processor.cores() // 2))  # as the worker has it
    with server.prepared() as home:
        loaded = session(home)
    (train, labels), (test, truth) = questions("train"), questions("test")
    names, targets = np.unique(labels, return_inverse=True)
    wanted = np.searchsorted(names, truth)
    seen, asked = embedded(loaded, train), embedded(loaded, test)
    prints = np.array([modality.fingerprint({}, each.encode()) for each in train])
    rows = []
    for count in shots:
        for seed in range(seeds):
            chosen = drawn(targets, count, seed)
            contestants = {"auto": (seen, asked)} | ({} if count == "full" and seed else _peers(seen, asked))
            for method, (known, unknown) in contestants.items():
                began = time.perf_counter()
                if method == "auto":
                    answers = _auto(known[chosen], targets[chosen], prints[chosen], unknown, seed)
                elif method == "TF-IDF":
                    answers = _tfidf([train[i] for i in chosen], targets[chosen], test)
                else:
                    answers = _logistic(known[chosen], targets[chosen], unknown)
                rows.append(_row(method, count, seed, answers, wanted, time.perf_counter() - began))
        _show(count, rows)
    return _results(rows)


def questions(part: str) -> tuple[list[str], list[str]]:
    """Texts and intents of `train` or `test`. Raises FileNotFoundError where the data set is not at hand."""
    path = Path(photo_sets.DATA) / "banking77" / f"{part}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row["text"] for row in rows], [row["category"] for row in rows]


def session(home: Path) -> BackboneSession:
    """The backbone for texts of a prepared home."""
    return BackboneSession(*stored(home))


def stored(home: Path) -> tuple[Backbone, bytes]:
    """The same with its graph."""
    settings = Settings(home=home)
    engine, artifacts = database.connect(settings.database), Artifacts(settings.artifacts)
    backbone = backbones.find(engine, BACKBONE)
    return backbone, artifacts.get(backbone.artifact)


def embedded(loaded: BackboneSession, texts: Sequence[str]) -> np.ndarray:
    """f32 [N, 384], one text at a time as a CPU serves."""
    spec = loaded.backbone.spec
    return np.concatenate([loaded.embed([modality.decode(each.encode(), spec)]) for each in texts])


def drawn(targets: np.ndarray, count: str, seed: int) -> np.ndarray:
    """Positions of so many examples of each class, at random."""
    if count == "full":
        return np.arange(len(targets))
    order = np.random.default_rng(seed).permutation(len(targets))
    return np.sort(np.concatenate([order[targets[order] == k][: int(count)] for k in range(targets.max() + 1)]))


def _peers(seen: np.ndarray, asked: np.ndarray) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    return {"LogisticRegressionCV": (seen, asked), "TF-IDF": (seen, asked)}


def _auto(known: np.ndarray, targets: np.ndarray, prints: np.ndarray, unknown: np.ndarray, seed: int) -> np.ndarray:
    nothing: list[Any] = [None] * len(targets)
    grouped = groups(alike, known, prints, [str(i) for i in range(len(targets))], nothing)
    classes = [str(k) for k in range(int(targets.max()) + 1)]
    parts = all_of(split(targets, grouped, nothing, nothing, seed))
    task = tasks.get("classification")
    result = race(known, {"class": targets}, classes, parts, task, "auto", {}, seed, lambda _: None, lambda: None)
    return np.asarray(programs.run(result.program, unknown))


def _logistic(known: np.ndarray, targets: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(known)
    return _tuned(scaler.transform(known), targets, scaler.transform(unknown))


def _tfidf(known: Sequence[str], targets: np.ndarray, unknown: Sequence[str]) -> np.ndarray:
    from sklearn.feature_extraction.text import TfidfVectorizer

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, max_features=MOST_WORDS)
    return _tuned(words.fit_transform(known), targets, words.transform(unknown))


def _tuned(known: Any, targets: np.ndarray, unknown: Any) -> np.ndarray:
    from sklearn.linear_model import LogisticRegressionCV

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what it says of convergence
        model = LogisticRegressionCV(Cs=7, cv=3, scoring="neg_log_loss", max_iter=200, n_jobs=1)
        return np.asarray(model.fit(known, targets).predict_proba(unknown))


def _row(method: str, count: str, seed: int, answers: np.ndarray, wanted: np.ndarray, seconds: float) -> dict[str, Any]:
    accuracy = float((answers.argmax(axis=1) == wanted).mean())
    found = {"method": method, "shots": count, "seed": seed, "accuracy": accuracy, "seconds": seconds}
    return found | {"log_loss": log_loss(answers, wanted)}


def _show(count: str, rows: list[dict[str, Any]]) -> None:
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if (row["method"], row["shots"]) == (method, count)]
        accuracy, loss, seconds = (np.mean([row[f] for row in mine]) for f in ("accuracy", "log_loss", "seconds"))
        print(f"  {count:>5} {method:22} {accuracy:.4f} {loss:.3f} {seconds:8.1f} s  ({len(mine)})", flush=True)


def _results(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Accuracy, log-loss and seconds of each contestant by examples a class."""
    found: dict[str, Any] = {"notes": {f"published: {name}": figure for name, figure in PUBLISHED.items()}}
    for count, method in dict.fromkeys((row["shots"], row["method"]) for row in rows):
        mine = [row for row in rows if (row["shots"], row["method"]) == (count, method)]
        for figure in ("accuracy", "log_loss", "seconds"):
            found[f"banking77, {count}, {method}: {figure}"] = record.spread([row[figure] for row in mine])
    return found


if __name__ == "__main__":
    asked_for = options.rounds(__doc__, options.Rounds(["banking77"], SEEDS, SHOTS))
    main(asked_for.seeds, asked_for.shots)
