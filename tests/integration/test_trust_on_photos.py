"""Promises kept on real data: conformal sets cover as often as they say, and what was never taught is found novel.

Weather photos, handwritten characters and blood cells of ../shared/data, each embedded once.
"""

import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.pictures import encoded

from adapters import tasks, trust
from adapters.modalities import image
from adapters.runtime.backbone import Backbones
from adapters.runtime.heads.head import Head
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.data.split import split
from adapters.training.publish import export
from adapters.training.race.evaluate import evaluate
from adapters.training.race.race import race
from adapters.training.trust import terms as training
from service.loading import load_backbone

pytestmark = [pytest.mark.data, pytest.mark.slow]
KINDS = ("cloud", "rain", "shine", "sunrise")
SPLITS = 20
TASK = tasks.get("classification")
Embed = Callable[[Sequence[bytes]], np.ndarray]
Photos = dict[str, np.ndarray]  # embeddings f32 [N, D] by kind
POOLED = 1280  # numbers of an embedding before its taps


@pytest.fixture(scope="module")
def embed(prepared: Path) -> Embed:
    """Files → embeddings, as serving makes them."""
    engine, artifacts = (
        database.connect(f"sqlite:///{prepared / 'espalier.sqlite'}"),
        Artifacts(str(prepared / "artifacts")),
    )
    backbone = backbones.find(engine, "tf_efficientnet_lite0")
    session = Backbones(lambda digest: load_backbone(engine, artifacts, digest)).get(backbone.digest)
    engine.dispose()

    def one(file: bytes) -> np.ndarray:
        return session.embed([image.decode(file, backbone.spec)])[0]

    def run(files: Sequence[bytes]) -> np.ndarray:
        with ThreadPoolExecutor(2) as pool:
            return np.stack(list(pool.map(one, files)))

    return run


@pytest.fixture(scope="module")
def weather(data: Path, embed: Embed) -> Photos:
    """The photos by kind; of copies, byte for byte, one."""
    seen: set[bytes] = set()
    files: dict[str, list[bytes]] = {kind: [] for kind in KINDS}
    for kind in KINDS:
        for path in sorted((data / "weather" / kind).iterdir()):
            if (file := path.read_bytes()) not in seen:
                seen.add(file)
                files[kind].append(file)
    return {kind: embed(found) for kind, found in files.items()}


@pytest.fixture(scope="module")
def strange(data: Path, embed: Embed) -> Photos:
    """What no head of weather was taught: handwritten characters, noise of three sorts, blood cells."""
    archives = [zipfile.ZipFile(path) for path in sorted((data / "omniglot").glob("*.zip"))]
    characters = [a.read(name) for a in archives for name in sorted(a.namelist())[::20] if name.endswith(".png")]
    cells = [path.read_bytes() for path in sorted((data / "bccd" / "JPEGImages").glob("*.jpg"))[::3]]
    return {"omniglot": embed(characters), "noise": embed(list(noise())), "bccd": embed(cells)}


def noise() -> Any:
    """Pixels, blocks and grain."""
    random = np.random.default_rng(0)
    for _ in range(30):
        yield encoded(Image.fromarray(random.integers(0, 256, (224, 224, 3), np.uint8)))
        yield encoded(Image.fromarray(random.integers(0, 256, (28, 28, 3), np.uint8).repeat(8, 0).repeat(8, 1)))
        yield encoded(Image.fromarray(random.normal(128, 40, (224, 224, 3)).clip(0, 255).astype(np.uint8)))


def taught(
    embeddings: np.ndarray, labels: np.ndarray, method: str = "logistic", **options: Any
) -> tuple[Head, np.ndarray]:
    """A head as a job makes it, from its own graph, and what sets are made from."""
    classes = tuple(sorted(set(labels.tolist())))
    targets = TASK.targets(labels.tolist(), classes)
    wished = ["test" if test else None for test in options.get("test", [False] * len(labels))]
    parts = split(TASK.strata(targets), np.arange(len(labels)), wished, [None] * len(labels), options.get("seed", 0))
    setting = {"inputs": "power"} | ({"regularization": 0.015} if method == "logistic" else {})
    result = race(
        embeddings, targets, classes, parts, TASK, method, setting, 0,
        lambda _: None, lambda: None,
    )  # fmt: skip
    measured = evaluate(result, TASK, embeddings, targets, classes, parts)
    learned = training.learn(result.program, TASK, measured, embeddings, targets, parts, POOLED)
    head = Head.from_bytes(export.to_onnx(learned.program, embeddings.shape[1], classes, learned.metadata))
    return head, trust.unpack(head.metadata)


def together(photos: Photos) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings f32 [N, D] and labels [N]."""
    return np.concatenate(list(photos.values())), np.repeat(list(photos), [len(x) for x in photos.values()])


def auroc(usual: np.ndarray, novel: np.ndarray) -> float:
    """The chance that something novel is told to be more novel than something usual; ties count half."""
    return float(((novel[:, None] > usual) + 0.5 * (novel[:, None] == usual)).mean())


@pytest.mark.parametrize(("evaluation", "method"), [("holdout", "prototype"), ("cross-validation", "logistic")])
def test_sets_cover_nine_in_ten_within_the_binomial_interval_over_twenty_splits(weather, evaluation, method):
    """Calibrated on a test set, or out of fold: measured on photos that neither training nor calibration saw."""
    embeddings, labels = together(weather)
    covered = []
    for seed in range(SPLITS):
        order = np.random.default_rng(seed).permutation(len(labels))
        known, fresh = order[: len(order) * 3 // 5], order[len(order) * 3 // 5 :]
        test = np.arange(len(known)) % 2 == 0 if evaluation == "holdout" else np.zeros(len(known), bool)
        head, of_truth = taught(embeddings[known], labels[known], method, seed=seed, test=test)
        assert len(of_truth) == (test.sum() if evaluation == "holdout" else len(known))
        output = head.answer(embeddings[fresh]).arrays["probabilities"]
        truth = TASK.targets(labels[fresh].tolist(), KINDS)["class"]
        covered.append(output[np.arange(len(fresh)), truth] >= trust.least_probability(of_truth, 0.9))
    shares = np.array([c.mean() for c in covered])
    half = 1.96 * (0.9 * 0.1 / len(labels)) ** 0.5  # the splits share 1,097 photos: twenty times as many tell no more
    assert abs(shares.mean() - 0.9) <= half, shares
    each = 1.96 * (0.9 * 0.1 * (1 / len(fresh) + 1 / len(of_truth))) ** 0.5  # the calibration is a draw, too
    assert (np.abs(shares - 0.9) <= each).sum() >= 16, shares  # of 20 tries at 95 % fewer come once in a thousand


@pytest.mark.parametrize("each", [None, 10], ids=["all photos", "ten a class"])
def test_what_is_no_weather_is_novel_to_a_head_of_weather(weather, strange, each):
    """AUROC ≥ 0.95 for each sort, and hardly one usual photo in a hundred is above the bound that abstains."""
    known = {kind: x[: each or len(x) * 2 // 3] for kind, x in weather.items()}
    fresh = np.concatenate([x[len(x) * 2 // 3 :] for x in weather.values()])
    head, _ = taught(*together(known))
    usual = head.answer(fresh).novelty
    for sort, embeddings in strange.items():
        told = head.answer(embeddings).novelty
        assert auroc(usual, told) >= 0.95, sort
        assert (told > trust.NOVEL).mean() >= 0.8, sort
    assert (usual > trust.NOVEL).mean() <= 0.03
    assert 0.35 < np.median(usual) < 0.65


@pytest.mark.parametrize("kind", KINDS)
def test_weather_of_a_kind_that_was_not_taught_is_more_novel_than_not(weather, kind):
    """The hard case: skies that resemble those taught. Confidence tells these better, so abstaining looks at both."""
    known = {k: x[: len(x) * 2 // 3] for k, x in weather.items() if k != kind}
    fresh = np.concatenate([x[len(x) * 2 // 3 :] for k, x in weather.items() if k != kind])
    head, _ = taught(*together(known))
    told, usual = head.answer(weather[kind]), head.answer(fresh)
    assert auroc(usual.novelty, told.novelty) > 0.55
    assert auroc(*(-said.arrays["probabilities"].max(axis=1) for said in (usual, told))) > 0.75
