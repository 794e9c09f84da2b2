"""Predictions: what one head says of one image is the same whatever else is asked for in the request."""

import asyncio
import io
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.graphs import DIMENSION, TINY, tiny

from adapters import trust
from adapters.errors import BackboneDamaged, HeadDamaged, HeadNotFound, InvalidImage, InvalidInput
from adapters.predict import Predictions, Predictor, predict
from adapters.runtime.backbone import Backbones
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.queueing.traffic import Traffic
from adapters.store import database, heads, jobs, publishing
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.training.publish import export
from adapters.types import Affine, Backbone, Clip, HeadProgram, HeadRef, JobRequest, Linear, Sigmoid, Softmax, Step
from service.api.inference.schemas import PredictResponse

NEAR, FAR = "n" * 64, "f" * 64  # two backbones: the second one sees the middle of a picture only
BACKBONES = {
    NEAR: replace(TINY, digest=NEAR),
    FAR: replace(TINY, digest=FAR, spec=replace(TINY.spec, crop_pct=0.5)),
}
SEED = iter(range(10**6))


def array(*shape: int) -> np.ndarray:
    return np.random.default_rng([7, *shape, next(SEED)]).normal(size=shape).astype(np.float32) / 200


def program(classes: int, *end: Step) -> HeadProgram:
    """A head with numbers of its own, and a novelty of its own."""
    told = (Linear(array(DIMENSION, 1) / 10, np.array([0.6], np.float32)), Clip(0.0, 1.0))
    return HeadProgram((Linear(array(DIMENSION, classes), array(classes)), *end), told)


class Served:
    """A predictor with heads of every task, each with promises of its own, on two backbones."""

    def __init__(self, folder: Path) -> None:
        self.engine = database.connect(f"sqlite:///{folder / 'espalier.sqlite'}")
        database.migrate(self.engine)
        self.artifacts = Artifacts(str(folder))
        spread = {"spread": {"height": 0.5, "weight": 20.0}}
        back = Affine(np.zeros(2, np.float32), np.array([0.5, 20.0], np.float32))
        self.publish("bold", "classification", NEAR, "abc", program(3, Softmax()), 0.05, 0.4)
        self.publish("shy", "classification", NEAR, "xyz", program(3, Softmax()), 0.3, 0.9999)
        self.publish("many", "multilabel", NEAR, "pq", program(2, Sigmoid()), 0.2, 0.3, thresholds={"p": 0.2, "q": 0.8})
        self.publish(
            "strict", "multilabel", FAR, "pq", program(2, Sigmoid()), 0.6, 0.5, thresholds={"p": 0.9, "q": 0.9}
        )
        self.publish("tall", "regression", NEAR, ("height", "weight"), program(2, back), -1.0, None, **spread)
        self.publish("wide", "regression", FAR, ("height", "weight"), program(2, back), -3.0, None, **spread)
        self.publish("afar", "classification", FAR, "abc", program(3, Softmax()), 0.1, 0.8)

    def publish(
        self, head: str, task: str, backbone: str, classes: Any, steps: HeadProgram, least: float,
        confidence: float | None, **decision: object,
    ) -> None:  # fmt: skip
        """A version whose sets begin at `least` and that abstains below `confidence`."""
        options = ["coverage"] if confidence is None else ["coverage", "abstain"]
        facts = {"held_out": 40, "options": options, "abstain": [{"accuracy": 0.9, "confidence": confidence}]}
        packed = {trust.KEY: trust.pack(np.full(40, least, np.float32))}
        digest = self.artifacts.put(export.to_onnx(steps, DIMENSION, list(classes), packed))
        manifest = {
            "backbone": {"digest": backbone}, "classes": list(classes), "task": task, "trust": facts,
            "decision": decision,
        }  # fmt: skip
        request = JobRequest(head, task=task)
        job = jobs.create(self.engine, request, [], fingerprint="")
        publishing.publish(self.engine, Publication(job.id, request, digest, manifest, {}, {}, [], False, None))

    async def ask(self, names: list[str], images: list[bytes], **options: Any) -> Predictions:
        """What a service with nothing loaded yet answers."""
        live = LiveHeads(self.engine, self.artifacts, max_bytes=2**30)
        loaded = Backbones(_load)
        predictor = Predictor(live, loaded, Traffic(2, 1000, 2**30, 60.0))
        try:
            return await predict(predictor, images, [HeadRef(name) for name in names], **{"timeout": 30.0} | options)
        finally:
            await asyncio.to_thread(predictor.close)

    def __call__(self, names: list[str], images: list[bytes], **options: Any) -> list[tuple[int, str, dict]]:
        """(image, head, answer) of one request, in order."""
        found = asyncio.run(self.ask(names, images, **options)).predictions
        return [(p.index, p.head.version.head, p.answer) for p in found]


def _load(digest: str) -> tuple[Backbone, bytes]:
    if digest not in BACKBONES:
        raise BackboneDamaged("its graph was altered in the store")
    return BACKBONES[digest], tiny()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("served"))
    yield made
    made.engine.dispose()


def picture(seed: int) -> bytes:
    """A picture whose middle is unlike its rim; all of them are files of one length."""
    random = np.random.default_rng(seed)
    pixels = np.full((8, 8, 3), random.integers(0, 256, 3), np.uint8)
    pixels[2:6, 2:6] = random.integers(0, 256, 3)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()


IMAGES = [picture(seed) for seed in range(3)]
CLASSIFYING = ["bold", "shy", "many", "strict", "afar"]
TERMS: list[dict[str, float]] = [{}, {"coverage": 0.9}, {"abstain": 0.9}, {"coverage": 0.9, "abstain": 0.9}]


def head_by_head(served: Served, names: list[str], images: list[bytes], **options: Any) -> list[tuple[int, str, dict]]:
    """A request for each head, in the order of one for all."""
    rows = zip(*(served([name], images, **options) for name in names), strict=True)
    return [said for row in rows for said in row]


def image_by_image(
    served: Served, names: list[str], images: list[bytes], **options: Any
) -> list[tuple[int, str, dict]]:
    """A request for each image, in the order of one for all."""
    return [(i, name, said) for i, data in enumerate(images) for _, name, said in served(names, [data], **options)]


def alike(one: Any, other: Any) -> bool:
    """Whether two answers are the same but for the last digits, which depend on how many are computed at a time."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    return one == pytest.approx(other, rel=1e-4, abs=1e-6) if isinstance(one, float) else one == other


@pytest.mark.parametrize("terms", TERMS, ids=str)
def test_heads_of_one_request_answer_as_they_do_alone(served, terms):
    """Of several tasks, calibrations, promises and backbones, in the order asked for and in another."""
    names = CLASSIFYING + ([] if "abstain" in terms else ["tall", "wide"])
    for order in (names, names[::-1]):
        assert served(order, IMAGES, **terms) == head_by_head(served, order, IMAGES, **terms)


@pytest.mark.parametrize(
    "pair", [("bold", "shy"), ("shy", "bold"), ("many", "bold"), ("tall", "wide"), ("afar", "shy")]
)
def test_two_heads_in_one_request_answer_as_in_two(served, pair):
    """To the last bit, whichever comes first."""
    assert served([*pair], IMAGES, coverage=0.9) == head_by_head(served, [*pair], IMAGES, coverage=0.9)


@pytest.mark.parametrize("terms", TERMS, ids=str)
def test_images_of_one_request_answer_as_they_do_alone(served, terms):
    """In the order sent and in another, with every promise."""
    for images in (IMAGES, IMAGES[::-1]):
        assert alike(served(CLASSIFYING, images, **terms), image_by_image(served, CLASSIFYING, images, **terms))


def test_many_images_at_once_answer_as_few_do(served):
    """More than are answered where the request is: 60 of them, and 13 outputs each."""
    images = [picture(seed) for seed in range(100, 160)]
    all_at_once = served(CLASSIFYING, images, coverage=0.9, abstain=0.9)
    assert [(index, name) for index, name, _ in all_at_once] == [(i, name) for i in range(60) for name in CLASSIFYING]
    last = image_by_image(served, CLASSIFYING, images[-2:], coverage=0.9, abstain=0.9)
    assert alike([said for *_, said in all_at_once[-10:]], [said for *_, said in last])


def test_each_heads_promise_is_its_own(served):
    """The tests above would pass if all heads promised the same, or nothing."""
    said = {name: answer for _, name, answer in served([*CLASSIFYING], IMAGES[:1], coverage=0.9, abstain=0.9)}
    assert len({len(said[name]["set"]) for name in ("bold", "shy")}) == 2
    assert {said[name]["abstain"] for name in ("bold", "shy")} == {False, True}
    assert said["many"]["label"] != said["strict"]["label"]
    assert len({said[name]["novelty"] for name in CLASSIFYING}) == len(CLASSIFYING)
    low, high = ({n: a for _, n, a in served(["tall", "wide"], IMAGES[:1], coverage=0.9)}[n] for n in ("tall", "wide"))
    for name in ("height", "weight"):
        widths = [answer["interval"][name][1] - answer["interval"][name][0] for answer in (low, high)]
        assert widths[1] == pytest.approx(3 * widths[0], rel=1e-4)


def test_who_is_sure_of_something_novel_abstains(served):
    """However sure: `strange` answers from no confidence on, and finds all that it sees novel."""
    steps = program(3, Softmax())
    steps = replace(steps, novelty=(Linear(0 * array(DIMENSION, 1), np.ones(1, np.float32)),))
    served.publish("strange", "classification", NEAR, "abc", steps, 0.1, 0.0)
    assert [said["abstain"] for *_, said in served(["bold", "strange"], IMAGES[:1], abstain=0.9)] == [False, True]


def test_nothing_is_promised_that_was_not_asked_for(served):
    """And what is promised comes beside the answer, which stays the same."""
    (_, _, plain), (_, _, promised) = served(["bold"], IMAGES[:1]) + served(["bold"], IMAGES[:1], coverage=0.9)
    assert "set" not in plain and "abstain" not in plain and "abstain" not in promised
    assert promised == plain | {"set": promised["set"], "coverage": 0.9}


@pytest.mark.parametrize(("top_k", "listed"), [(1, 1), (2, 2), (50, 3)])
def test_as_many_guesses_as_asked_for(served, top_k, listed):
    """Of every head in the request, as far as it has so many."""
    said = [answer["top"] for *_, answer in served(["bold", "many"], IMAGES[:1], top_k=top_k)]
    assert [len(top) for top in said] == [listed, min(listed, 2)]


def test_one_head_that_cannot_promise_refuses_for_all(served):
    """The refusal names it."""
    with pytest.raises(InvalidInput, match=r"'tall'.*without 'abstain'"):
        served(["bold", "tall"], IMAGES[:1], abstain=0.9)


def test_what_a_bad_image_leaves_keeps_its_place(served):
    """Answers of the others are theirs, on both backbones."""
    names = ["bold", "afar"]
    found = asyncio.run(served.ask(names, [b"bad", IMAGES[0], b"worse", IMAGES[1]], on_error="skip", coverage=0.9))
    assert [error.index for error in found.errors] == [0, 2]
    wanted = [(2 * i + 1, name, said) for i, name, said in served(names, IMAGES[:2], coverage=0.9)]
    assert [(p.index, p.head.version.head, p.answer) for p in found.predictions] == wanted


def test_requests_at_the_same_time_are_told_of_their_own_images(served):
    """Different pictures in files of one length, and each for two backbones."""
    assert len({len(data) for data in IMAGES}) == 1

    async def main() -> list[dict]:
        live = LiveHeads(served.engine, served.artifacts, max_bytes=2**30)
        loaded = Backbones(_load)
        predictor = Predictor(live, loaded, Traffic(1, 1000, 2**30, 60.0))
        asked = [(data, HeadRef(name)) for data in IMAGES * 3 for name in names]
        found = await asyncio.gather(*(predict(predictor, [data], [ref], timeout=10.0) for data, ref in asked))
        await asyncio.to_thread(predictor.close)
        return [f.predictions[0].answer for f in found]

    names = ["bold", "afar"]
    said = asyncio.run(main())
    assert said == [answer for *_, answer in image_by_image(served, names, IMAGES)] * 3
    assert len({str(answer) for answer in said}) == 6


# Damage


@pytest.fixture
def harmed(tmp_path: Path) -> Iterator[Served]:
    """One whose `shy` head lost a bit in the store, and whose backbone FAR cannot be loaded."""
    made = Served(tmp_path)
    digest = heads.resolve(made.engine, HeadRef("shy")).digest
    path = tmp_path / "blobs" / digest[:2] / digest
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    yield made
    made.engine.dispose()


def test_a_damaged_head_fails_its_own_answers_only(harmed):
    """And says in words what is wrong and how to go on; asked alone it is the answer."""
    found = asyncio.run(harmed.ask(["bold", "shy", "tall"], IMAGES))
    assert [(p.index, p.head.version.head) for p in found.predictions] == [
        (i, name) for i in range(len(IMAGES)) for name in ("bold", "tall")
    ]
    (failed,) = found.head_errors
    assert (failed.head, failed.code) == ("shy", "head_damaged")
    assert "version 1 of the head 'shy' is damaged" in failed.detail and "/heads/shy/rebuild" in failed.detail
    assert PredictResponse.model_validate(PredictResponse.plain(found)).head_errors
    with pytest.raises(HeadDamaged, match="head 'shy' is damaged"):
        harmed(["shy", "shy"], IMAGES)


def test_a_damaged_backbone_fails_the_answers_of_its_heads_only(served, monkeypatch):
    whole = head_by_head(served, ["bold", "many"], IMAGES)
    monkeypatch.delitem(BACKBONES, FAR)
    found = asyncio.run(served.ask(["afar", "bold", "wide", "many"], IMAGES))
    assert alike([(p.index, p.head.version.head, p.answer) for p in found.predictions], whole)
    assert [(e.head, e.code) for e in found.head_errors] == [("afar", "backbone_damaged"), ("wide", "backbone_damaged")]
    with pytest.raises(BackboneDamaged):
        served(["afar", "wide"], IMAGES)


def test_what_the_caller_has_to_mend_is_refused_beside_a_damaged_head(harmed):
    """An unknown name, and an image that cannot be read, concern the whole request."""
    with pytest.raises(HeadNotFound):
        harmed(["bold", "shy", "nobody"], IMAGES)
    with pytest.raises(InvalidImage):
        harmed(["bold", "shy"], [b"no image"])
    skipped = asyncio.run(harmed.ask(["bold", "shy"], [b"no image"], on_error="skip"))
    assert (skipped.predictions, len(skipped.errors), len(skipped.head_errors)) == ([], 1, 1)
