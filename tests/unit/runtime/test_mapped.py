"""Mapped graphs answer as the originals do, and whatever happens to their files, a backbone loads."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from support.graphs import TINY, tiny

from adapters.runtime.backbone import Backbones
from adapters.runtime.onnx import mapped, session
from adapters.runtime.onnx.mapped import DIGESTS, GRAPH, WEIGHTS, MappedGraphs

SIDE, WIDE = 8, 64
DIGEST = "d" * 64
FACTS = replace(TINY, digest=DIGEST)


@pytest.fixture(scope="module")
def graph() -> bytes:
    """uint8 pixels → `pooled`, with weights large enough to be mapped."""
    weights = np.random.default_rng(0).standard_normal((SIDE * SIDE * 3, WIDE)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["floats"], ["flat"]),
        helper.make_node("MatMul", ["flat", "weights"], ["pooled"]),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", SIDE, SIDE, 3])
    pooled = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["N", WIDE])
    body = helper.make_graph(nodes, "tiny", [pixels], [pooled], [numpy_helper.from_array(weights, "weights")])
    model = helper.make_model(body, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


@pytest.fixture
def make(tmp_path, graph):
    """The mapped graph, as a new process finds or makes it, and how often it read the original."""

    def make() -> tuple[str | bytes, int]:
        reads = []
        found = MappedGraphs(tmp_path / "mapped").graph(FACTS, lambda: reads.append(graph) or graph)
        return found, len(reads)

    return make


def answer(graph: str | bytes) -> bytes:
    pixels = np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)
    return session.create(graph).run(None, {"pixels": pixels})[0].tobytes()


def test_it_is_made_once_and_answers_bit_for_bit_as_the_original(make, graph):
    (path, reads), (again, more) = make(), make()
    assert path == again and (reads, more) == (1, 0)
    assert answer(path) == answer(graph)
    assert Path(path).stat().st_size < len(graph) / 2, "the weights are not in the graph"


def test_a_graph_without_weights_is_mapped_too(tmp_path):
    """As the trunk of a version is that owns all of its backbone."""
    folder, graph = MappedGraphs(tmp_path), tiny()
    path = folder.graph(TINY, lambda: graph)
    assert isinstance(path, str) and folder.graph(TINY, lambda: pytest.fail("it is there")) == path
    pixels = {"pixels": np.random.default_rng(1).integers(0, 256, (2, SIDE, SIDE, 3), np.uint8)}
    answers = [session.create(each).run(["pooled"], pixels)[0].tobytes() for each in (path, graph)]
    assert answers[0] == answers[1]


def test_files_of_a_backbones_parts_go_with_it(tmp_path, graph):
    """A deep version's trunk has a digest of its own."""
    folder = MappedGraphs(tmp_path)
    part = replace(FACTS, digest="e" * 64, details={"of": DIGEST})
    of_part, of_other = (Path(folder.graph(one, lambda: graph)) for one in (part, replace(FACTS, digest="f" * 64)))
    assert of_part.exists() and of_other.exists() and not folder.damaged()
    folder.forget(DIGEST)
    assert not of_part.exists() and of_other.exists()


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS, DIGESTS])
@pytest.mark.parametrize("harm", ["altered", "cut", "gone"])
def test_files_that_are_not_as_they_were_written_are_made_anew(make, graph, name, harm):
    path, _ = make()
    file = Path(path).with_name(name)
    content = file.read_bytes()
    file.unlink()
    if harm != "gone":
        file.write_bytes(content[:-1] + (b"" if harm == "cut" else bytes([content[-1] ^ 1])))
    again, reads = make()
    assert reads == 1 and answer(again) == answer(graph)
    assert make()[1] == 0


def test_files_can_be_deleted_while_they_are_used(make, graph):
    path, _ = make()
    running = session.create(path)
    shutil.rmtree(Path(path).parent)
    pixels = np.zeros((1, SIDE, SIDE, 3), np.uint8)
    assert running.run(None, {"pixels": pixels})[0].tolist() == [[0.0] * WIDE]
    assert make()[1] == 1


def test_a_backbone_that_is_removed_leaves_nothing(tmp_path, make, monkeypatch):
    path, _ = make()
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(mapped.processor, "instructions", lambda: ["of", "another"])
        make()
    MappedGraphs(tmp_path / "mapped").forget(DIGEST)
    assert not list((tmp_path / "mapped").glob(f"*/{DIGEST}")) and not Path(path).exists()


def test_where_nothing_can_be_written_the_original_is_used(tmp_path, make, graph):
    (tmp_path / "mapped").write_text("a file where the folder should be")
    assert make() == (graph, 1)


def test_a_graph_that_answers_otherwise_is_not_used(make, graph, monkeypatch):
    answers = iter([[b"one"], [b"other"]])
    monkeypatch.setattr(mapped, "_answers", lambda *_: next(answers))
    assert make() == (graph, 1)


def test_what_a_killed_process_left_is_cleared_away(tmp_path, make):
    path, _ = make()
    left = Path(path).parents[1] / "draft-of-a-dead-process"
    left.mkdir()
    shutil.rmtree(Path(path).parent)
    make()
    assert not left.exists()


def test_another_onnxruntime_or_processor_has_files_of_its_own(make, monkeypatch):
    path, _ = make()
    monkeypatch.setattr(mapped.processor, "instructions", lambda: ["of", "another"])
    other, reads = make()
    assert other != path and reads == 1


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS])
def test_files_that_are_written_to_while_they_are_mapped_change_no_answer(tmp_path, graph, name):
    """What was mapped changes with them, so the pass is run again from files that were made anew."""
    maker = MappedGraphs(tmp_path / "mapped")
    loaded = Backbones(lambda digest: (FACTS, maker.graph(FACTS, lambda: graph))).get(DIGEST)
    batch = {"pixels": np.random.default_rng(1).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)}
    before = loaded.embed(batch)
    path = next((tmp_path / "mapped").glob(f"*/{DIGEST}/{name}"))
    with path.open("r+b") as file:
        file.write(b"\xff" * (path.stat().st_size // 2))
    assert np.array_equal(loaded.embed(batch), before) and np.array_equal(loaded.embed(batch, True), before)
    path.unlink()
    assert np.array_equal(loaded.embed(batch), before), "deleting them is no harm"
