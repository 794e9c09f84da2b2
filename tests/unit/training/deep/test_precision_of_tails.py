"""A deep version is served in its backbone's precision where answers measure the same, and in float32 elsewhere."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from adapters import tasks
from adapters.errors import ParityError
from adapters.modalities.image import calibration
from adapters.runtime.heads.head import DeepHead, Head, HeadAnswers
from adapters.runtime.onnx import session
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import cuts, precisions
from adapters.training.backbone.observing import images
from adapters.training.backbone.precisions import int8
from adapters.training.publish import deep_export, deep_precision, deep_proof, verify
from adapters.types import HeadProgram, Linear, Schema, Softmax

CLASSES = ("a", "b", "c")
TASK = tasks.get("classification")


class Cut:
    """The embedded backbone in int8, cut behind a block, with a head on the tail and taps of crops of photos."""

    def __init__(self, home: Path, name: str) -> None:
        engine = database.connect(f"sqlite:///{home / 'espalier.sqlite'}")
        full = backbones.find(engine, "tf_efficientnet_lite0")
        crops = calibration.crops(full.spec)
        graph = int8.convert(Artifacts(str(home / "artifacts")).get(full.artifact), crops.calibrated[:8])
        engine.dispose()
        self.cut = cuts.named(cuts.find(graph, images(full.spec.size)), name)
        self.data = cuts.floated(cuts.tail(graph, self.cut))
        trunk, pixels = session.create(cuts.trunk(graph, self.cut)), crops.calibrated[:120]
        self.taps = np.concatenate([trunk.run(None, {"pixels": picture[None]})[0] for picture in pixels])
        self.dimension, self.asked = full.dimension, []
        weight = np.random.default_rng(0).normal(size=(full.dimension, 3)).astype(np.float32) / 50
        self.program = HeadProgram((Linear(weight, np.zeros(3, np.float32)), Softmax()))

    def graph_of(self, tail: bytes) -> bytes:
        return deep_export.to_onnx(self.program, tail, self.cut, self.dimension, CLASSES, {})

    @property
    def tail(self) -> deep_precision.Tail:
        plain = self.graph_of(self.data)
        return deep_precision.Tail(self.data, plain, self.cut, TASK, Schema(CLASSES, {}), self.graph_of)

    def told(self, positions: Sequence[int]) -> Any:
        self.asked.append(list(positions))
        return self.taps[np.asarray(positions) % len(self.taps)]

    def said(self, graph: bytes) -> Any:
        return Head.from_bytes(graph).answer(self.taps).arrays["probabilities"]


@pytest.fixture(scope="module")
def late(prepared: Path) -> Cut:
    return Cut(prepared, "blocks.5")


@pytest.mark.parametrize("rounded", [True, False])
def test_a_session_over_what_is_optimized_already_says_the_same_bits(late, rounded):
    graph = deep_precision.chosen(late.tail, "int8", late.told, 120)[0] if rounded else late.graph_of(late.data)
    (wanted,) = session.create(graph).run(["probabilities"], {"tap": late.taps})
    assert np.array_equal(late.said(graph), wanted)
    assert Head.from_bytes(graph).answer(late.taps).pooled.shape == (len(late.taps), late.dimension)


def test_a_tail_of_a_rounded_backbone_is_rounded_where_it_answers_the_same(late):
    graph, found = deep_precision.chosen(late.tail, "int8", late.told, 120)
    plain = late.graph_of(late.data)
    assert len(graph) < 0.4 * len(plain)
    moved = np.abs(late.said(graph) - late.said(plain)).max(axis=1)
    assert 0 < moved.mean() < 2 * deep_precision.MOST_MOVED
    assert found["precision"] == "int8"
    assert (found["compared"], found["changed"]) == (80, 0)
    assert 0 < found["moved"] <= found["most_moved"]
    assert deep_precision.chosen(late.tail, "int8", late.told, 120)[0] == graph, "the same bytes each time"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blocks.4", "all"])
def test_longer_tails_and_all_of_a_network_are_rounded_too(prepared, name):
    """The first layers of a network stay in float: of pixels, of which nothing averages out what rounding does."""
    early = Cut(prepared, name)
    graph, found = deep_precision.chosen(early.tail, "int8", early.told, 120)
    kept = [t for t in onnx.load_from_string(graph).graph.initializer if t.data_type == onnx.TensorProto.FLOAT]
    assert any(len(t.dims) == 4 for t in kept) == (name == "all")
    assert found["precision"] == "int8", found


def test_it_is_compared_on_other_examples_than_it_was_rounded_by(late):
    late.asked.clear()
    deep_precision.chosen(late.tail, "int8", late.told, 1000)
    calibrated, compared = late.asked
    assert (len(calibrated), len(compared)) == (deep_precision.CALIBRATED_ON, deep_precision.COMPARED_ON)
    assert not set(calibrated) & set(compared)


@pytest.mark.parametrize(
    ("precision", "count", "plain", "why"),
    [("fp32", 500, "as the backbone is", "as the backbone is"), ("int8", 500, "as was asked", "as was asked"),
     ("int8", 39, None, "39 examples are too few to round by"), ("fp16", 500, None, "cannot be had in fp16")],
)  # fmt: skip
def test_a_tail_stays_in_float_otherwise(late, precision, count, plain, why):
    graph, found = deep_precision.chosen(late.tail, precision, late.told, count, plain)
    assert graph == late.graph_of(late.data)
    assert found["precision"] == "fp32"
    assert why in found["why"]


@pytest.mark.parametrize(
    ("precision", "asked", "keep", "why"),
    [("int8", {}, True, None), ("int8", {"precision": "auto"}, True, None), ("fp32", {}, True, "as the backbone is"),
     ("int8", {"precision": "fp32"}, True, "as was asked"),
     ("int8", {}, False, "what is added later goes on from its weights")],
)  # fmt: skip
def test_a_job_says_whether_it_may_be_rounded(precision, asked, keep, why):
    """What goes on from a version begins at its weights, which are nowhere else where examples are not kept."""
    job = SimpleNamespace(request=SimpleNamespace(keep_examples=keep))
    assert deep_proof._plain(job, SimpleNamespace(setting=asked), precision) == why


def altered(change: Callable[[Any], Any], tail: bytes, taps: Any, begins: bool) -> bytes:
    """A tail with other weights in each convolution."""
    model = onnx.load_from_string(tail)
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor)), tensor.name))
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("change", [lambda w: w * 1.2, lambda w: -w, lambda w: w * np.float32(np.nan)])
def test_one_that_answers_otherwise_is_not_taken(late, monkeypatch, change):
    kind = SimpleNamespace(convert_tail=partial(altered, change))
    monkeypatch.setattr(precisions, "get", lambda name: kind)
    graph, found = deep_precision.chosen(late.tail, "int8", late.told, 120)
    assert graph == late.graph_of(late.data)
    assert found["precision"] == "fp32"
    assert "in int8 it answers otherwise" in found["why"]


def test_few_decisions_that_change_are_too_many(late, monkeypatch):
    """However little answers move."""
    monkeypatch.setattr(deep_precision, "MOST_MOVED", 2.0)
    kind = SimpleNamespace(convert_tail=partial(altered, lambda w: -w))
    monkeypatch.setattr(precisions, "get", lambda name: kind)
    _, found = deep_precision.chosen(late.tail, "int8", late.told, 120)
    assert found["precision"] == "fp32"
    assert found["changed"] > found["most_changed"]


def test_one_that_cannot_be_made_is_no_reason_to_fail(late, monkeypatch):
    def refuse(tail: bytes, taps: Any, begins: bool) -> bytes:
        raise ValueError("an operator that nobody knows")

    monkeypatch.setattr(precisions, "get", lambda name: SimpleNamespace(convert_tail=refuse))
    graph, found = deep_precision.chosen(late.tail, "int8", late.told, 120)
    assert (graph, found["precision"]) == (late.graph_of(late.data), "fp32")


def test_one_that_answers_by_the_size_of_a_batch_is_not_taken(late, monkeypatch):
    asked = DeepHead.answer

    def answer(self: DeepHead, taps: Any) -> HeadAnswers:
        found = asked(self, taps)
        return HeadAnswers({name: array + 1e-3 * (len(taps) > 1) for name, array in found.arrays.items()})

    rounded, _ = deep_precision.chosen(late.tail, "int8", late.told, 120)
    verify.verify_rounded(rounded, late.taps, TASK, Schema(CLASSES, {}))
    monkeypatch.setattr(DeepHead, "answer", answer)
    with pytest.raises(ParityError, match="differs"):
        verify.verify_rounded(rounded, late.taps, TASK, Schema(CLASSES, {}))
    graph, found = deep_precision.chosen(late.tail, "int8", late.told, 120)
    assert (graph, found["precision"]) == (late.graph_of(late.data), "fp32")
