"""Does the data report find what is wrong with data? Real photos with labels flipped and copies put in.

Limits: AUROC of suspicion at least 0.9 with 10 % and with 20 % of the labels flipped, and no worse than cleanlab on the
same answers; injected near-duplicates: recall at least 0.95, at most 1 % false alarms, none across the split.
Needs the weather photos of ESPALIER_TEST_DATA (default ../shared/data), and for the comparison a Python that has
cleanlab: ESPALIER_CLEANLAB_PYTHON. It is not a dependency of ours.
"""

import csv
import hashlib
import io
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from adapters import finetune as pipeline
from adapters import modalities, tasks
from adapters.backbones.parts import POOLED, TAPS
from adapters.runtime.backbone import Backbones
from adapters.store import backbones, database
from adapters.store.embeddings import EmbeddingCache
from adapters.store.objects.artifacts import Artifacts
from adapters.suspicion import suspicion
from adapters.training.data.data_report import data_report
from adapters.training.data.dataset import Dataset
from adapters.training.data.duplicates import groups
from adapters.training.data.split import Split, split
from adapters.training.embedding import views
from adapters.training.race.evaluate import Measured, evaluate
from adapters.training.race.learning_curve import Trial, judge, learner, learning_curve
from adapters.training.race.race import RaceResult, race
from adapters.types import ORIGINAL, Example, Targets
from benchmarks import record
from service.loading import load_backbone
from service.processes import default_backbone, setup
from service.settings import Settings

DATA = Path(os.environ.get("ESPALIER_TEST_DATA") or record.ROOT.parent / "shared" / "data")
CLEANLAB = os.environ.get("ESPALIER_CLEANLAB_PYTHON", "")
SEEDS = range(5)
COPIES = 200  # photos that get a changed copy
LIMITS = {
    "auroc_10": 0.9, "auroc_20": 0.9, "copies_recall": 0.95, "copies_false_alarms": 0.01, "copies_straddling": 0,
    "report_ms": 60, "curve_over_race": 0.5,
}  # fmt: skip
TASK = tasks.get("classification")

File = tuple[str, str, bytes]  # label, name, bytes
Change = Callable[[bytes, int], bytes]  # of the input of a number


@dataclass(frozen=True, slots=True)
class Embedded:
    """Labeled inputs with their embeddings f32 [N, E] and fingerprints u8 [N, F]."""

    examples: list[Example]
    embeddings: np.ndarray
    fingerprints: np.ndarray
    dimension: int  # D
    modality: str

    @property
    def pooled(self) -> np.ndarray:
        """The part that copies and strangers are found by, f32 [N, D]."""
        return self.embeddings[:, : self.dimension]

    @property
    def labels(self) -> np.ndarray:
        """One label an input."""
        return np.array([e.label for e in self.examples])

    def grouped(self) -> np.ndarray:
        """Groups of near-duplicates, i64 [N]."""
        side, shas = modalities.training_side(self.modality), [e.sha256 for e in self.examples]
        return groups(side, self.pooled, self.fingerprints, shas, [None] * len(shas))


@dataclass(frozen=True, slots=True)
class Trained:
    """What a job has at hand when it reports."""

    known: Embedded
    classes: tuple[str, ...]
    targets: Targets
    groups: np.ndarray
    split: Split
    result: RaceResult
    measured: Measured

    def report(self) -> dict[str, Any]:
        """The data report."""
        data = Dataset(self.known.examples, [None] * len(self.known.examples))
        return data_report(
            data, TASK, self.classes, self.known.pooled, self.targets, self.groups,
            self.split, self.result, self.measured,
        )  # fmt: skip

    def curve(self) -> dict[str, Any]:
        """The learning curve."""
        result = self.result
        x = self.known.embeddings[:, : result.reads]
        setting = result.hyperparameters
        learn = learner(x, views.no_views(x), self.targets, len(self.classes), result.method, setting, 0, TASK, ())
        trials = [Trial(train, held) for train, held in self.split.folds]
        judged, strata = judge(TASK, self.targets, self.measured.schema), TASK.strata(self.targets)
        return learning_curve(
            strata, self.classes, self.groups, trials, self.measured.outputs, learn, judged, TASK.SHARE, 0
        )


class Embedding:
    """The default backbone of a modality, in a home of its own."""

    def __init__(self, home: Path, modality: str = ORIGINAL) -> None:
        settings = Settings(home=home)
        engine = database.connect(settings.database)
        database.migrate(engine)
        artifacts = Artifacts(settings.artifacts)
        setup.prepare(settings, engine, artifacts)
        loaded = Backbones(lambda digest: load_backbone(engine, artifacts, digest))
        self.training = pipeline.TrainingContext(engine, artifacts, loaded, lanes=2, most={"image": 10**8})
        self.backbone = backbones.find(engine, default_backbone.of(settings, engine, modality))

    def embedded(self, files: Sequence[File]) -> Embedded:
        """Files → their embeddings; those that are equal in every byte count once."""
        found: dict[str, Example] = {}
        for label, name, data in files:
            example = Example(self.training.artifacts.put(data), label, name)
            found.setdefault(example.sha256, example)
        examples = sorted(found.values(), key=lambda e: e.sha256)
        self.training.embedder(self.backbone, "").embed(examples, lambda done, of: None)
        cache = EmbeddingCache(self.training.engine, self.backbone.digest)
        rows = cache.get([e.sha256 for e in examples])
        return Embedded(examples, *rows, self.backbone.dimension, self.backbone.modality)


def weather() -> list[File]:
    """1,123 photos of four kinds of weather: label, name, bytes."""
    if not (DATA / "weather").is_dir():
        raise SystemExit(f"there are no photos in {DATA / 'weather'}; set ESPALIER_TEST_DATA to a folder with weather/")
    return [(p.parent.name, p.name, p.read_bytes()) for p in sorted((DATA / "weather").glob("*/*"))]


def questions(intents: Sequence[str], data: Path = DATA) -> list[File]:
    """Questions to a bank with one of these intents: label, name, bytes. Raises FileNotFoundError."""
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] in intents]
    return [(row["category"], f"{number}.txt", row["text"].encode()) for number, row in enumerate(rows)]


def flipped(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels with a share of them changed to any other class, and which those are, bool [N]."""
    random, names = np.random.default_rng(seed), np.unique(labels)
    wrong = np.zeros(len(labels), bool)
    wrong[random.choice(len(labels), round(share * len(labels)), replace=False)] = True
    shift = random.integers(1, len(names), len(labels))
    other = names[(np.searchsorted(names, labels) + shift) % len(names)]
    return np.where(wrong, other, labels), wrong


def trained(known: Embedded, labels: np.ndarray | None = None) -> Trained:
    """Split and race, as a job does it."""
    if labels is not None:
        examples = [replace(e, label=str(label)) for e, label in zip(known.examples, labels, strict=True)]
        known = replace(known, examples=examples)
    given = known.labels.tolist()
    classes = TASK.classes(given)
    targets, nothing = TASK.targets(given, classes), [None] * len(given)
    grouped = known.grouped()
    parts = split(TASK.strata(targets), grouped, nothing, nothing, 0)
    lengths = {TAPS: known.embeddings.shape[1], POOLED: known.dimension}
    result = race(
        known.embeddings, targets, classes, parts, TASK, "auto", {}, 0, lambda _: None, lambda: None, lengths=lengths
    )
    measured = evaluate(result, TASK, known.embeddings, targets, classes, parts)
    return Trained(known, classes, targets, grouped, parts, result, measured)


def answers(job: Trained) -> tuple[np.ndarray, np.ndarray]:
    """Out-of-fold probabilities [M, K] of a job and the labels [M] given to these examples."""
    return job.result.outputs["probabilities"], job.targets["class"][job.result.index]


def auroc(score: np.ndarray, wrong: np.ndarray) -> float:
    """The chance that a wrong label scores above a sound one; ties count half."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    ones = int(wrong.sum())
    return float((rank[wrong].sum() - ones * (ones + 1) / 2) / (ones * (len(score) - ones)))


CHANGES: dict[str, Callable[[Image.Image], tuple[Image.Image, int]]] = {  # picture → picture and JPEG quality
    "re-encoded": lambda i: (i, 40),
    "smaller": lambda i: (i.resize((i.width * 3 // 4, i.height * 3 // 4)), 85),
    "brighter": lambda i: (ImageEnhance.Brightness(i).enhance(1.1), 85),
    "cropped": lambda i: (i.crop((i.width * 3 // 100, i.height * 3 // 100, i.width, i.height)), 85),
}
REWORDED: dict[str, Callable[[str], str]] = {
    "shouted": str.upper,
    "without a letter": lambda t: t[: len(t) // 2] + t[len(t) // 2 + 1 :],
    "with a word more": lambda t: f"{t} Please!",
    "with other punctuation": lambda t: t.replace("?", " ???").replace(".", " ...").replace(",", " "),
}


def copies(files: list[File], count: int, seed: int = 0, change: Change | None = None) -> list[File]:
    """Changed copies of some photos, or by another `change`; `copy-of-<SHA-256>` is the name of each."""
    found = []
    for number in np.random.default_rng(seed).choice(len(files), count, replace=False):
        label, _, data = files[number]
        changed = (change or photo_changed)(data, int(number))
        found.append((label, f"copy-of-{hashlib.sha256(data).hexdigest()}", changed))
    return found


def photo_changed(data: bytes, number: int) -> bytes:
    """A photo in one of four other ways."""
    with Image.open(io.BytesIO(data)) as picture:
        changed, quality = list(CHANGES.values())[number % len(CHANGES)](picture.convert("RGB"))
    out = io.BytesIO()
    changed.save(out, "JPEG", quality=quality)
    return out.getvalue()


def text_changed(data: bytes, number: int) -> bytes:
    """A text in one of four other ways."""
    return list(REWORDED.values())[number % len(REWORDED)](data.decode()).encode()


def found_copies(before: Embedded, after: Embedded) -> dict[str, float]:
    """Of the copies in `after`: the share joined to its original, and to an input that is not its original's."""
    names = [[e.sha256 for e in known.examples] for known in (before, after)]
    grouped = [
        dict(zip(shas, known.grouped().tolist(), strict=True))
        for shas, known in zip(names, (before, after), strict=True)
    ]
    pairs = [
        (e.sha256, e.file_name.removeprefix("copy-of-")) for e in after.examples if e.file_name.startswith("copy-of-")
    ]
    sources = set(before_sha for _, before_sha in pairs)
    joined = [grouped[1][copy] == grouped[1][source] for copy, source in pairs]
    # Inputs joined now that were not, other than a copy to its own: of all that there are.
    wrong = [
        sha for sha in names[0]
        if sha not in sources and any(_strange(sha, copy, source, grouped) for copy, source in pairs)
    ]  # fmt: skip
    return {"recall": float(np.mean(joined)), "false_alarms": len(wrong) / len(names[0])}


def _strange(sha: str, copy: str, source: str, grouped: list[dict[str, int]]) -> bool:
    """An input beside a copy of one that it was not beside."""
    return grouped[1][sha] == grouped[1][copy] and grouped[0][sha] != grouped[0][source]


CLEANLAB_PROGRAM = """
import json, sys, numpy as np
from cleanlab.rank import get_label_quality_scores as quality
found = np.load(sys.argv[1])
labels, answers = found["labels"], found["answers"].astype(float)
answers /= answers.sum(axis=1, keepdims=True)
kinds = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")
print(json.dumps({k: (-quality(labels, answers, method=k)).tolist() for k in kinds}))
"""


def cleanlab(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Its three rankings of the same answers, the more suspicious the larger; {} where it is not installed."""
    if not CLEANLAB:
        return {}
    with tempfile.NamedTemporaryFile(suffix=".npz") as file:
        np.savez(file, answers=probabilities, labels=labels)
        file.flush()
        command = [CLEANLAB, "-c", CLEANLAB_PROGRAM, file.name]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    return {f"cleanlab_{name}": np.array(score) for name, score in json.loads(done.stdout).items()}


def main() -> dict[str, Any]:
    """Measure and print; returns the results."""
    with tempfile.TemporaryDirectory() as home:
        embedding, files = Embedding(Path(home)), weather()
        photos = embedding.embedded(files)
        with_copies = embedding.embedded(files + copies(files, COPIES))
    results: dict[str, Any] = {}
    for share in (0.1, 0.2):
        results |= _suspicion(photos, share)
    found = found_copies(photos, with_copies)
    straddling = trained(with_copies).report()["findings"]["duplicates"]["straddling"]
    results |= {f"copies_{name}": record.spread([value]) for name, value in found.items()}
    results |= {"copies_straddling": record.spread([straddling])} | _cost(photos) | {"limits": LIMITS}
    for name, row in results.items():
        print(f"  {name:34} {row}")
    return results


def _suspicion(photos: Embedded, share: float) -> dict[str, Any]:
    rows: dict[str, list[float]] = {}
    for seed in SEEDS:
        labels, wrong = flipped(photos.labels, share, seed)
        job = trained(photos, labels)
        probabilities, given = answers(job)
        truth = wrong[job.result.index]
        found = suspicion(probabilities, given)
        rows.setdefault(f"auroc_{share * 100:.0f}", []).append(auroc(found.score, truth))
        rows.setdefault(f"flagged_precision_{share * 100:.0f}", []).append(float(truth[found.flagged].mean()))
        rows.setdefault(f"flagged_recall_{share * 100:.0f}", []).append(float(found.flagged[truth].mean()))
        for name, score in cleanlab(probabilities, given).items():
            rows.setdefault(f"auroc_{share * 100:.0f}_{name}", []).append(auroc(score, truth))
    return {name: record.spread(values) for name, values in rows.items()}


def _cost(photos: Embedded) -> dict[str, Any]:
    """What the report adds to a job, and the curve to its end."""
    job, report, ratio = trained(photos), [], []
    for _ in range(5):
        report.append(1000 * _seconds(job.report))
        ratio.append(_seconds(job.curve) / job.result.seconds)
        job = trained(photos)
    return {"report_ms": record.spread(report), "curve_over_race": record.spread(ratio)}


def _seconds(action: Callable[[], Any]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


if __name__ == "__main__":
    record.save("trust", main())
