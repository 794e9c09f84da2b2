"""A modality that is one file of the tests learns, serves and reports, without a line changed elsewhere."""

import asyncio
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support import dropped_in
from support.pictures import shape

from adapters import finetune, trust
from adapters.backbones import facts
from adapters.errors import InvalidInput, WrongModality
from adapters.predict import Predictor, load, predict
from adapters.runtime.backbone import Backbones, BackboneSession
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.onnx.mapped import MappedGraphs
from adapters.runtime.queueing.traffic import Traffic
from adapters.store import backbones, heads, jobs, publishing
from adapters.store.objects.artifacts import Artifacts
from adapters.suggest import suggest
from adapters.training.backbone import upgrade
from adapters.training.publish import export
from adapters.types import Backbone, Example, HeadProgram, HeadRef, JobRequest, Linear, Softmax

LINES = 30
WIDE = 96  # so that the weights are more than a graph of constants keeps in itself


@pytest.fixture
def dna() -> Iterator[Any]:
    """The modality, dropped in."""
    with dropped_in.modality() as modality:
        yield modality


def encoder() -> bytes:
    """bases i64 [N, T, 4], mask i64 [N, T] → `pooled` f32 [N, 96] of the shares of bases, padding left out."""
    weight = np.random.default_rng(0).normal(size=(4, WIDE)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["bases"], ["hot"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["mask"], ["ones"], to=TensorProto.FLOAT),
        helper.make_node("ReduceSum", ["hot", "along"], ["sums"], keepdims=0),
        helper.make_node("ReduceSum", ["ones", "along"], ["length"], keepdims=1),
        helper.make_node("Div", ["sums", "length"], ["shares"]),
        helper.make_node("MatMul", ["shares", "weight"], ["pooled"]),
    ]
    inputs = [
        helper.make_tensor_value_info("bases", TensorProto.INT64, ["N", "T", 4]),
        helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", "T"]),
    ]
    output = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["N", WIDE])
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(np.array([1], np.int64), "along")]
    graph = helper.make_graph(nodes, "helix", inputs, [output], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def helix(modality: Any) -> Backbone:
    graph = encoder()
    artifact, spec = hashlib.sha256(graph).hexdigest(), modality.Spec()
    return Backbone("helix", facts.digest(artifact, spec, "fp32", "dna"), artifact, spec, "fp32", WIDE, 0, {}, "dna")


def strand(kind: str, seed: int) -> bytes:
    """Of many A and T, or of many C and G; of another length each."""
    random = np.random.default_rng([seed, len(kind)])
    shares = (0.4, 0.1, 0.1, 0.4) if kind == "warm" else (0.1, 0.4, 0.4, 0.1)
    return bytes(random.choice(list(b"ACGT"), int(random.integers(40, 90)), p=shares).astype(np.uint8))


class Bench:
    """A database with the backbone, and what a worker and a server have."""

    def __init__(self, engine: Any, folder: Path, modality: Any) -> None:
        self.engine, self.artifacts = engine, Artifacts(str(folder / "artifacts"))
        self.backbone = helix(modality)
        backbones.add(engine, self.artifacts, self.backbone, encoder())
        self.loaded = Backbones(self._load)
        self.shop = finetune.TrainingContext(engine, self.artifacts, self.loaded, lanes=2, most={})

    def _load(self, digest: str) -> tuple[Backbone, bytes]:
        backbone = backbones.find_digest(self.engine, digest)
        return backbone, backbones.stored(self.artifacts, backbone)

    def teach(self, strands: list[tuple[bytes, str]], **request: Any) -> jobs.Job:
        for data, _ in strands:
            self.artifacts.put(data)
        sent = [Example(hashlib.sha256(d).hexdigest(), label, f"{n}.dna") for n, (d, label) in enumerate(strands)]
        job = jobs.create(self.engine, JobRequest("climate", backbone="helix", **request), sent, fingerprint="")
        finetune.finetune(job.id, self.shop)
        return jobs.get(self.engine, job.id)

    def publish_of_images(self, head: str) -> None:
        """A head whose manifest says nothing of a modality, as those from before there were others."""
        program = HeadProgram((Linear(np.zeros((4, 2), np.float32), np.zeros(2, np.float32)), Softmax()))
        graph = export.to_onnx(program, 4, ["red", "blue"], {trust.KEY: trust.pack(np.zeros(1, np.float32))})
        facts = {"backbone": {"digest": "i" * 64}, "classes": ["red", "blue"], "task": "classification"}
        job = jobs.create(self.engine, JobRequest(head), [], fingerprint="")
        digest = self.artifacts.put(graph)
        publishing.publish(
            self.engine, publishing.Publication(job.id, job.request, digest, facts, {}, {}, [], False, None)
        )

    def ask(self, what: Any) -> Any:
        """What `what(predictor)` gives of a server with nothing loaded yet."""

        async def asked() -> Any:
            live = LiveHeads(self.engine, self.artifacts, max_bytes=2**30)
            predictor = Predictor(live, self.loaded, Traffic(2, 1000, 2**30, 60.0))
            try:
                return await what(predictor)
            finally:
                await asyncio.to_thread(predictor.close)

        return asyncio.run(asked())


@pytest.fixture
def bench(tmp_path: Path, engine: Any, dna: Any) -> Bench:
    return Bench(engine, tmp_path, dna)


TAUGHT = [(strand(kind, n), kind) for n in range(12) for kind in ("warm", "cold")]
REFS = [HeadRef("climate")]
NEW = [strand("warm", 100), strand("cold", 101)]


def test_it_is_a_file_of_thirty_lines():
    text = (dropped_in.FOLDER / f"{dropped_in.NAME}.py").read_text()
    assert len([line for line in text.splitlines() if line.strip()]) <= LINES


def test_it_learns_serves_and_reports(bench):
    copy = (TAUGHT[0][0][::-1], "warm")  # as many of each base: alike by its fingerprint
    job = bench.teach([*TAUGHT, copy])
    assert job.status == "succeeded" and job.metrics["accuracy"] > 0.9
    version = heads.resolve(bench.engine, REFS[0])
    assert version.manifest["backbone"]["modality"] == "dna" and version.manifest["views"] == "none"
    report = json.loads(bench.artifacts.get(version.manifest["data"]["report"]))
    assert report["findings"]["duplicates"]["groups"] == 1
    answered = bench.ask(lambda predictor: predict(predictor, NEW, REFS, modality="dna"))
    assert [p.answer["label"] for p in answered.predictions] == ["warm", "cold"]
    assert all(p.head.modality == "dna" for p in answered.predictions)


@pytest.mark.slow
def test_what_was_embedded_is_not_embedded_again(bench):
    bench.teach(TAUGHT)
    again = bench.teach([(strand("warm", 77), "warm"), (strand("cold", 78), "cold")])
    assert again.report["embedding"] | {"seconds": 0} == {"new": 2, "cached": 24, "views": 0, "seconds": 0}


def test_what_to_label_next_is_told_in_its_words(bench):
    bench.teach(TAUGHT)
    strands = [strand(kind, 200 + n) for n in range(6) for kind in ("warm", "cold")]
    found = bench.ask(lambda predictor: suggest(predictor, bench.engine, strands, REFS[0], 2))
    assert len(found.indices) == 2 and "strands" in found.explanation and "image" not in found.explanation


@pytest.mark.slow
def test_a_bad_one_is_named_in_its_words(bench):
    bench.teach(TAUGHT)
    with pytest.raises(InvalidInput, match=r"strand 1: a strand is .* \(1 of 2 strands cannot be used; on_error=skip"):
        bench.ask(lambda predictor: predict(predictor, [NEW[0], b"soup"], REFS))
    skipped = bench.ask(lambda predictor: predict(predictor, [NEW[0], b"soup"], REFS, on_error="skip"))
    assert [p.index for p in skipped.predictions] == [0] and [e.index for e in skipped.errors] == [1]


def test_a_job_names_its_bad_ones_too(bench):
    with pytest.raises(InvalidInput, match=r"2 of 26 strands cannot be used"):
        bench.teach([*TAUGHT, (b"soup", "warm"), (b"stew", "cold")])


def test_a_picture_for_its_head_is_refused_with_the_field_to_use(bench):
    bench.teach(TAUGHT)
    said = "the head 'climate' reads strands, not images: send strands to it, in the field 'strands'"
    with pytest.raises(WrongModality, match=said):
        bench.ask(lambda predictor: predict(predictor, [shape("circle", 1)], REFS, modality="image"))
    with pytest.raises(WrongModality, match=said):
        bench.ask(lambda p: suggest(p, bench.engine, [shape("circle", 1)], REFS[0], 1, modality="image"))


@pytest.mark.slow
def test_heads_of_two_modalities_are_not_asked_together(bench):
    bench.teach(TAUGHT)
    bench.publish_of_images("colours")
    both = [*REFS, HeadRef("colours")]
    said = "the head 'colours' reads images, not strands: .* in the field 'images', in a request of their own"
    with pytest.raises(WrongModality, match=said):
        bench.ask(lambda predictor: predict(predictor, NEW, both))
    with pytest.raises(WrongModality, match="the head 'climate' reads strands, not images"):
        bench.ask(lambda predictor: predict(predictor, NEW, both[::-1]))


def test_its_requests_count_by_their_length(bench):
    """By what the caller said, and by the head where that is loaded; before that as images do."""
    bench.teach(TAUGHT)

    async def loads(predictor: Predictor) -> list[float]:
        cold = load(predictor, NEW, REFS, None)
        await predict(predictor, NEW, REFS)
        return [cold, load(predictor, NEW, REFS, None), load(predictor, NEW, REFS, "dna")]

    worth = sum(map(len, NEW)) / 100
    assert bench.ask(loads) == [2.0, worth, worth]


def test_padding_changes_no_answer(bench, dna):
    session = BackboneSession(bench.backbone, encoder())
    items = dna.trial(dna.Spec(), 6)
    alone = np.concatenate([session.embed([one]) for one in items])
    for pad in (False, True):
        np.testing.assert_allclose(session.plain(dna.collate(items, dna.Spec(), pad=pad)), alone, atol=1e-6)


def test_on_a_gpu_it_goes_in_padded_passes(bench, dna, monkeypatch):
    """The path of a GPU on a CPU: what varies in shape has no buffers of ours, and no pass is larger than the most."""
    session = BackboneSession(bench.backbone, encoder())
    items = dna.trial(dna.Spec(), 130)
    alone = np.concatenate([session.embed([one]) for one in items])
    session.device = "cuda"
    shapes = []
    plain = session.plain
    monkeypatch.setattr(session, "plain", lambda batch, alone=False: shapes.append(batch["mask"].shape) or plain(batch))
    np.testing.assert_allclose(session.embed(items), alone, atol=1e-6)
    assert shapes == [(64, 128), (64, 128), (2, 128)]


def test_its_graph_is_mapped_and_proven_at_several_lengths(bench, tmp_path):
    path = MappedGraphs(tmp_path / "mapped").graph(bench.backbone, encoder)
    assert isinstance(path, str)


def test_it_has_no_other_precisions_and_no_taps(bench):
    with pytest.raises(InvalidInput, match="a backbone of strands has no other precisions, and no taps to add"):
        upgrade.build(bench.backbone, bench.engine, bench.artifacts)
