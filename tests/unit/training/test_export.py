"""Export and parity: the graph that is served answers as torch did, or it is refused."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from adapters import tasks
from adapters.errors import CorruptArtifact, ParityError
from adapters.runtime.heads.head import Head
from adapters.training import programs
from adapters.training.publish import export
from adapters.training.publish.verify import verify
from adapters.types import Affine, HeadProgram, L2Normalize, Linear, Power, Scale, Schema, Softmax

random = np.random.default_rng(0)
DIMENSION, LABELS = 16, ("cat", "dög", "日本")
TASK, SCHEMA = tasks.get("classification"), Schema(LABELS)
EMBEDDINGS = np.abs(random.normal(size=(40, DIMENSION))).astype(np.float32)


def program(seed: int = 0) -> HeadProgram:
    values = np.random.default_rng(seed)
    shift, scale = (values.random(DIMENSION).astype(np.float32) for _ in range(2))
    linear = Linear(values.normal(size=(DIMENSION, 3)).astype(np.float32), values.normal(size=3).astype(np.float32))
    return HeadProgram((Power(0.5), L2Normalize(), Affine(shift, scale), linear, Scale(0.7), Softmax()))


def graph(metadata: dict[str, str] | None = None) -> bytes:
    return export.to_onnx(program(), DIMENSION, LABELS, metadata or {})


def test_the_served_graph_answers_as_torch_does():
    wanted = programs.run(program(), EMBEDDINGS)
    np.testing.assert_allclose(Head.from_bytes(graph()).answer(EMBEDDINGS).arrays["probabilities"], wanted, atol=1e-6)


def test_inputs_outputs_and_versions_are_what_the_documents_say():
    model = onnx.load_from_string(graph())
    shapes = {
        value.name: [d.dim_param or d.dim_value for d in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes == {"embedding": ["batch", 16], "probabilities": ["batch", 3], "logits": ["batch", 3]}
    assert model.opset_import[0].version == 18 and model.ir_version <= 10


def test_labels_and_metadata_travel_inside():
    props = {p.key: p.value for p in onnx.load_from_string(graph({"head": "pets"})).metadata_props}
    assert json.loads(props["labels"]) == list(LABELS) and props["head"] == "pets"


def test_the_bytes_are_the_same_each_time():
    assert graph({"a": "1", "b": "2"}) == graph({"a": "1", "b": "2"})


def test_the_softmax_of_the_logits_is_the_answer():
    from onnx.reference import ReferenceEvaluator

    answer, logits = ReferenceEvaluator(onnx.load_from_string(graph())).run(None, {"embedding": EMBEDDINGS})
    np.testing.assert_allclose(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), answer, atol=1e-5)


def test_a_program_without_probabilities_is_not_exported():
    with pytest.raises(ValueError, match="probabilities"):
        export.to_onnx(HeadProgram(program().steps[:-1]), DIMENSION, LABELS, {})


def test_a_graph_that_points_to_another_file_is_refused():
    model = onnx.load_from_string(graph())
    export.refuse_external_data(graph())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    with pytest.raises(CorruptArtifact, match="another file"):
        export.refuse_external_data(model.SerializeToString())


def test_bytes_that_are_no_graph_are_refused():
    with pytest.raises(CorruptArtifact, match="not an ONNX graph"):
        export.refuse_external_data(b"nonsense")


@pytest.mark.parametrize("batch_max", [1, 2, 7, 64])
def test_parity_is_reported_for_batches_of_one_two_and_most(batch_max):
    figures = verify(graph(), program(), EMBEDDINGS, batch_max, TASK, SCHEMA)
    assert figures["max_difference"] < 1e-5 and figures["batches"] == sorted({1, 2, batch_max})
    json.dumps(figures, allow_nan=False)


def test_one_embedding_is_enough_to_verify_with():
    verify(graph(), program(), EMBEDDINGS[:1], 32, TASK, SCHEMA)


def test_a_graph_of_other_weights_is_refused():
    with pytest.raises(ParityError, match="differs from torch"):
        verify(export.to_onnx(program(1), DIMENSION, LABELS, {}), program(), EMBEDDINGS, 32, TASK, SCHEMA)


def test_a_graph_of_other_classes_is_refused():
    two = Linear(np.zeros((DIMENSION, 2), np.float32), np.zeros(2, np.float32))
    other = export.to_onnx(HeadProgram((two, Softmax())), DIMENSION, LABELS[:2], {})
    with pytest.raises(ParityError, match="right shape"):
        verify(other, program(), EMBEDDINGS, 32, TASK, SCHEMA)


def test_a_graph_that_answers_nan_is_refused():
    broken = HeadProgram((Linear(np.full((DIMENSION, 3), np.nan, np.float32), np.zeros(3, np.float32)), Softmax()))
    with pytest.raises(ParityError, match="finite"):
        verify(export.to_onnx(broken, DIMENSION, LABELS, {}), program(), EMBEDDINGS, 32, TASK, SCHEMA)
