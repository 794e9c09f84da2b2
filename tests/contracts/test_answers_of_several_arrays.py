"""A task whose answers are two arrays of different shapes, dropped in from the tests: it is served, proven, compared,
gated and remembered without a line elsewhere that knows of it."""

import asyncio
import io
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from support.graphs import DIMENSION, TINY, tiny

from adapters import arrays, tasks
from adapters.comparison import gate, out_of_fold, versions
from adapters.comparison.trunks import Trunks
from adapters.errors import ParityError
from adapters.monitoring import comparing, hard
from adapters.predict import Predictor, predict
from adapters.rollout.facts import Rollout
from adapters.runtime.backbone import Backbones
from adapters.runtime.heads.head import Head
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.heads.loaded import LiveHead, Trial
from adapters.runtime.queueing.traffic import Traffic
from adapters.store import database, heads, jobs, publishing
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.tasks import Task
from adapters.tenancy import embedded_by
from adapters.training.publish import manifest
from adapters.training.publish.verify import verify
from adapters.types import Arrays, Assignment, Example, HeadProgram, HeadRef, HeadVersion, JobRequest, Linear, Schema

COUNT, SCHEMA = 30, Schema(("page",))
EMBEDDINGS = np.random.default_rng(0).random((COUNT, DIMENSION)).astype(np.float32)
WEIGHT = np.random.default_rng(1).normal(size=(DIMENSION, 9)).astype(np.float32) / 10
BIAS = np.array([0.1, 0.1, 0.9, 0.1, 0.9, 0.9, 0.1, 0.9, 0.5], np.float32)
SHAS = [f"{n:064x}" for n in range(COUNT)]


@pytest.fixture(scope="module", autouse=True)
def corners() -> Iterator[Task]:
    """Found by the name of its file, as those of the folder are."""
    tasks.__path__.append(str(Path(__file__).parents[1] / "support" / "dropped_in"))
    tasks.names.cache_clear()
    yield tasks.get("corners")
    tasks.__path__.pop()
    tasks.names.cache_clear()
    tasks.get.cache_clear()


def program(off: float = 0.0) -> HeadProgram:
    """A head of nine numbers an image; `off` moves all corners."""
    moved = BIAS + np.array([off] * 8 + [0.0], np.float32)
    return HeadProgram((Linear(WEIGHT, moved),), (Linear(np.zeros((DIMENSION, 1), np.float32), np.float32([0.5])),))


def graph(off: float = 0.0, wrong: float = 0.0) -> bytes:
    """The same as ONNX, with an output for each array; `wrong` is added to the score."""
    bias = program(off).steps[0].bias + np.array([0.0] * 8 + [wrong], np.float32)
    constants = {
        "weight": WEIGHT, "bias": bias, "split": np.array([8, 1]), "four": np.array([0, 4, 2]), "last": np.array([1]),
        "half": np.full((DIMENSION, 1), 0.0, np.float32), "usual": np.array([0.5], np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("Gemm", ["embedding", "weight", "bias"], ["all"]),
        helper.make_node("Split", ["all", "split"], ["eight", "one"], axis=1),
        helper.make_node("Reshape", ["eight", "four"], ["corners"]),
        helper.make_node("Squeeze", ["one", "last"], ["score"]),
        helper.make_node("Gemm", ["embedding", "half", "usual"], ["novel"]),
        helper.make_node("Squeeze", ["novel", "last"], ["novelty"]),
    ]
    shapes = {"corners": ["batch", 4, 2], "score": ["batch"], "novelty": ["batch"]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    given = [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", DIMENSION])]
    tensors = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "head", given, outputs, tensors)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def said(off: float = 0.0) -> Arrays:
    return Head.from_bytes(graph(off)).answer(EMBEDDINGS).arrays


def truth(task: Task) -> list[str]:
    """What a head that is not off says of every image."""
    return [json.dumps(task.decode(one, SCHEMA, 1)["label"]) for one in arrays.each(said())]


def test_a_head_answers_with_the_arrays_of_its_graph(corners):
    answers = Head.from_bytes(graph()).answer(EMBEDDINGS)
    assert {name: a.shape for name, a in answers.arrays.items()} == {
        "corners": (COUNT, 4, 2), "score": (COUNT,), "novelty": (COUNT,),
    }  # fmt: skip
    shown = corners.decode(answers.row(3), SCHEMA, 1)
    np.testing.assert_allclose(np.ravel(shown["label"]), (EMBEDDINGS[3] @ WEIGHT + BIAS)[:8], rtol=1e-5)
    assert np.shares_memory(answers.row(3)["corners"], answers.arrays["corners"]), "a view, no copy"


def test_both_arrays_are_proven_and_either_may_refuse(corners):
    proof = verify(graph(), program(), EMBEDDINGS, 16, corners, SCHEMA)
    assert proof["max_difference"] < 1e-5
    for other in (graph(off=2e-4), graph(wrong=2e-4)):
        with pytest.raises(ParityError, match="differs from torch by"):
            verify(other, program(), EMBEDDINGS, 16, corners, SCHEMA)
    lacking = onnx.load_from_string(graph())
    lacking.graph.output.pop(1)
    with pytest.raises(ParityError, match="finite numbers of the right shape"):
        verify(lacking.SerializeToString(), program(), EMBEDDINGS, 16, corners, SCHEMA)


def test_the_manifest_says_their_shapes(corners):
    assert manifest._outputs(corners, ["page"]) == {
        "corners": ["batch", 4, 2], "score": ["batch"], "novelty": ["batch"],
    }  # fmt: skip


def test_the_gate_refuses_what_is_farther_off(corners):
    labels = truth(corners)
    lost = gate.compare(corners, said(0.1), SCHEMA, said(), SCHEMA, labels)
    won = gate.compare(corners, said(), SCHEMA, said(0.1), SCHEMA, labels)
    assert not lost["passed"] and lost["live_better"] == COUNT and won["passed"]
    assert won["candidate_neg_mean_distance"] == pytest.approx(0, abs=1e-6)
    assert won["live_neg_mean_distance"] == pytest.approx(-(0.02**0.5), rel=1e-3)


def test_they_are_stored_flat_and_come_back_bit_for_bit(corners):
    shapes = corners.shapes(("page",))
    flat = arrays.flat(said(), shapes)
    assert flat.shape == (COUNT, arrays.numbers(shapes)) == (COUNT, 9) and flat.dtype == np.dtype("<f4")
    back = arrays.unflat(np.frombuffer(flat.tobytes(), "<f4").reshape(COUNT, 9), shapes)
    np.testing.assert_equal(back, {name: said()[name] for name in shapes})


def test_of_one_array_that_is_what_earlier_versions_stored():
    outputs = np.random.default_rng(0).random((5, 3)).astype(np.float32)
    shapes = tasks.get("classification").shapes("abc")
    assert arrays.flat({"probabilities": outputs}, shapes).tobytes() == outputs.astype("<f4").tobytes()


# In a home


class Home:
    """Two versions of a head: one is right, and has answers of folds for half of its examples; one is off."""

    def __init__(self, folder: Path, task: Task) -> None:
        self.engine = database.connect(f"sqlite:///{folder / 'espalier.sqlite'}")
        database.migrate(self.engine)
        self.artifacts = Artifacts(str(folder))
        self.examples = [Example(s, label, f"{s[-2:]}.bmp") for s, label in zip(SHAS, truth(task), strict=True)]
        cache = EmbeddingCache(self.engine, embedded_by("pages", TINY.digest))
        prints = np.zeros(256, np.uint8)
        cache.put([Embedded(s, row, prints) for s, row in zip(SHAS, EMBEDDINGS, strict=True)])
        table = arrays.flat(said(), task.shapes(("page",)))
        table[COUNT // 2 :] = np.nan
        self.versions = [self.publish(graph(), self.artifacts.put(table.tobytes())), self.publish(graph(0.05), None)]

    def publish(self, head: bytes, answers: str | None) -> HeadVersion:
        parts = [(s, "train" if answers and n < COUNT // 2 else "test") for n, s in enumerate(SHAS)]
        data = {"digest": self.artifacts.put(json.dumps(parts).encode())} | ({"answers": answers} if answers else {})
        facts = {"backbone": {"digest": TINY.digest}, "classes": ["page"], "task": "corners", "data": data}
        request = JobRequest("pages", task="corners", deploy="always" if answers is None else "auto")
        job = jobs.create(self.engine, request, [], fingerprint="")
        dataset = [(e, Assignment(e.sha256, e.label, p)) for e, (_, p) in zip(self.examples, parts, strict=True)]
        live = heads.find_live(self.engine, "pages")
        made = Publication(job.id, request, self.artifacts.put(head), facts, {}, {}, dataset, False, live and 1)
        return heads.resolve(self.engine, HeadRef("pages", version=publishing.publish(self.engine, made)))

    async def ask(self, images: list[bytes], **options: object) -> list[dict]:
        live = LiveHeads(self.engine, self.artifacts, max_bytes=2**30)
        predictor = Predictor(live, Backbones(lambda digest: (TINY, tiny())), Traffic(2, 1000, 2**30, 60.0))
        try:
            found = await predict(predictor, images, [HeadRef("pages", version=1)], timeout=30.0, **options)
        finally:
            await asyncio.to_thread(predictor.close)
        return [one.answer for one in found.predictions]

    def loaded(self, number: int) -> LiveHead:
        live = LiveHeads(self.engine, self.artifacts, max_bytes=2**30)
        return live.get(HeadRef("pages", version=number))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, corners: Task) -> Iterator[Home]:
    made = Home(tmp_path_factory.mktemp("home"), corners)
    yield made
    made.engine.dispose()


def picture() -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)).save(file, "BMP")
    return file.getvalue()


def test_it_is_served_and_bad_images_are_skipped(home):
    (answer,) = asyncio.run(home.ask([b"bad", picture()], on_error="skip"))
    assert np.shape(answer["label"]) == (4, 2) and answer["novelty"] == 0.5
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert asyncio.run(home.ask([b"bad"], on_error="skip")) == []


def test_two_versions_are_compared_by_what_each_may_be_asked(home):
    """Answers of folds for what the first has learned, its graph's for the others; the second is asked about all."""
    first, second = home.versions
    assert set(out_of_fold.remembered(first, home.artifacts)) == set(SHAS[: COUNT // 2])
    trunks = Trunks(Backbones(lambda digest: (TINY, tiny())), home.artifacts, {})
    found = versions.compare(first, second, home.engine, trunks, limit=3)
    assert (found["examples"], found["a_better"], found["skipped"]) == (COUNT, COUNT, 0)
    assert found["merit"] == "neg_mean_distance" and found["merit_a"] == pytest.approx(0, abs=1e-6)
    assert found["changed_count"] == COUNT and np.shape(found["changed"][0]["b"]["label"]) == (4, 2)


def test_a_roll_out_asks_the_other_version_and_the_task_whether_they_agree(home):
    rollout = Rollout("r", "pages", 2, 1, "canary", 0.5, None)  # type: ignore[arg-type]
    answered, other = home.loaded(1), home.loaded(2)
    mine = arrays.row(answered.head.answer(EMBEDDINGS[:1]).arrays, 0)
    for off, disagreed in ((0.0, 0), (0.2, 1)):
        label = (mine["corners"] + off).tolist()
        tried = replace(answered, trial=Trial(rollout, "live", other, True))
        asked = comparing.Comparison(tried, {"label": label, "novelty": 0.5}, EMBEDDINGS[0])
        assert comparing.compared(asked).disagreed == disagreed


def test_which_inputs_are_hard_is_the_tasks_word(home):
    head = home.loaded(1)
    answers = head.head.answer(EMBEDDINGS)
    told = hard.rows(head, answers, [{}] * COUNT)
    near_half = np.flatnonzero(1 - np.abs(2 * answers.arrays["score"] - 1) >= hard.UNSURE)
    assert {one.row for one in told} == set(near_half.tolist()) != set()
