"""An encoder becomes a backbone: it is pooled as its makers do, and refused where it is something else."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from adapters.errors import InvalidInput
from adapters.modalities import text as modality
from adapters.modalities.text import Spec, wordpieces
from adapters.runtime.onnx import session
from adapters.training.backbone.pooling import with_pooling

SPEC = Spec(wordpieces.DEFAULT, 256)
INPUTS = modality.inputs(SPEC)
WIDTH = 5


def encoder(
    inputs: tuple[str, ...] = ("input_ids", "attention_mask", "token_type_ids"),
    kind: int = TensorProto.INT64,
    answers: tuple[Any, ...] = ("batch", "time", WIDTH),
) -> Any:
    """A table of vectors as an encoder: a row for each piece, plus 1 for each piece of a second text."""
    table = np.arange(30_522 * WIDTH, dtype=np.float32).reshape(-1, WIDTH) % 7 - 3
    nodes = [helper.make_node("Gather", ["table", inputs[0]], ["rows"])]
    if "token_type_ids" in inputs:
        nodes += [
            helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
            helper.make_node("Unsqueeze", ["types", "axis"], ["more"]),
            helper.make_node("Add", ["rows", "more"], ["hidden"]),
        ]
    else:
        nodes.append(helper.make_node("Identity", ["rows"], ["hidden"]))
    graph = helper.make_graph(
        nodes, "encoder", [helper.make_tensor_value_info(name, kind, ["batch", "time"]) for name in inputs],
        [helper.make_tensor_value_info("hidden", TensorProto.FLOAT, answers)],
        [numpy_helper.from_array(table, "table"), numpy_helper.from_array(np.array([-1]), "axis")],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10)


@pytest.mark.parametrize("inputs", [("input_ids", "attention_mask", "token_type_ids"), ("input_ids", "attention_mask")])
def test_pooled_is_the_mean_of_what_the_mask_shows_at_length_one(inputs: tuple[str, ...]) -> None:
    """Against numpy, padded and not; the types of pieces are answered inside the graph."""
    model = encoder(inputs)
    served = session.create(with_pooling(model.SerializeToString(), INPUTS))
    assert [each.name for each in served.get_inputs()] == ["input_ids", "attention_mask"]
    items = [modality.decode(said, SPEC) for said in (b"Where is my card?", b"Lost.")]
    (pooled,) = served.run(["pooled"], dict(modality.collate(items, SPEC)))
    table = numpy_helper.to_array(model.graph.initializer[0])
    means = np.array([table[item["input_ids"]].mean(axis=0) for item in items])
    assert pooled.shape == (2, WIDTH)
    np.testing.assert_allclose(pooled, means / np.linalg.norm(means, axis=1, keepdims=True), atol=1e-6)


def test_the_graph_is_the_same_each_time() -> None:
    """So that its digest is."""
    data = encoder().SerializeToString()
    assert with_pooling(data, INPUTS) == with_pooling(data, INPUTS)


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (encoder(("ids", "attention_mask")), "must read int64 attention_mask, input_ids; it reads ids"),
        (encoder(("input_ids",)), "must read int64"), (encoder(kind=TensorProto.INT32), "must read int64"),
        (encoder(answers=("batch", WIDTH)), "must answer one f32"),
        (encoder(answers=("batch", "time", "width")), "must answer one f32"),
    ],
)  # fmt: skip
def test_what_is_no_such_encoder_is_refused(model: Any, says: str) -> None:
    """By its signature, before anything runs."""
    with pytest.raises(InvalidInput, match=says):
        with_pooling(model.SerializeToString(), INPUTS)


def test_weights_in_other_files_are_refused() -> None:
    """A file that points elsewhere is never followed."""
    model = encoder()
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL
    entry = onnx.StringStringEntryProto(key="location", value="/etc/passwd")
    model.graph.initializer[0].external_data.append(entry)
    with pytest.raises(InvalidInput, match="in other files"):
        with_pooling(model.SerializeToString(), INPUTS)


def test_bytes_that_are_no_graph_are_refused() -> None:
    """In one sentence."""
    with pytest.raises(InvalidInput, match="not an ONNX file"):
        with_pooling(b"no graph", INPUTS)
