"""A fit whose weights are on another device than its examples: a GPU, or here what refuses as one does."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from support import deep_fits as deep
from support.elsewhere import elsewhere

from adapters.training import programs
from adapters.training.deep import fit, interpreter

TWO = np.eye(deep.CLASSES, dtype=np.float32)[deep.labels()][:, :2]


class Inline:
    """A pool of this thread alone: what is elsewhere is so by thread."""

    map = staticmethod(map)

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def __enter__(self) -> "Inline":
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Training is not on the CPU."""
    with elsewhere() as device:
        monkeypatch.setattr(programs, "device", lambda: device)
        monkeypatch.setattr(fit, "Pool", Inline)
        yield device


@pytest.mark.slow
@pytest.mark.parametrize(
    "how",
    [{}, {"objective": "sigmoid", "truth": TWO}, {"objective": "squared", "truth": TWO}, {"ema": 0.9, "dropout": 0.2},
     {"name": "all", "mixup": 0.4, "augment": "crop"}, {"optimizer": "sgd", "stay": 1.0, "schedule": "gradual"}],
)  # fmt: skip
def test_a_fit_elsewhere_ends_where_one_on_the_cpu_does(tmp_path, away, monkeypatch, how):
    """Every objective, and all that is drawn; it goes on from a state that was kept, too."""
    kept: list[bytes] = []
    there = deep.fitting(tmp_path, **how)
    found = there.run(lambda state: kept.append(state()))
    assert {weight.device for weight in there.network.weights} == {away}
    later = deep.fitting(tmp_path, **how)
    later.resume(kept[1])
    assert later.run(lambda state: None).curves == found.curves
    monkeypatch.setattr(programs, "device", lambda: torch.device("cpu"))
    here = deep.fitting(tmp_path, **how)
    wanted = here.run(lambda state: None)
    np.testing.assert_allclose(found.said[-1], wanted.said[-1], rtol=1e-3, atol=1e-4)
    assert [row["train_loss"] for row in found.curves] == pytest.approx([row["train_loss"] for row in wanted.curves])
    assert len(there.network.tail.to_onnx()) == len(here.network.tail.to_onnx())
    assert there.network.head.program().steps


def constants_of_all_kinds() -> bytes:
    """u8 `tap` [N, 2, 2, 2] → `pooled`, by numbers that a graph has beside its weights."""
    stored = {
        "scale": np.array([0.5, 0.25], np.float32), "zero": np.array([1, 2], np.uint8),
        "weight": np.ones((2, 2, 1, 1), np.float32), "shape": np.array([1, 2], np.int64),
        "axes": np.array([2, 3], np.int64), "mask": np.array([[True, False]]),
    }  # fmt: skip
    ends = numpy_helper.from_array(np.array([[3.0, 4.0]], np.float32))
    nodes = [
        helper.make_node("DequantizeLinear", ["tap", "scale", "zero"], ["real"], axis=1),
        helper.make_node("Conv", ["real", "weight"], ["map"]),
        helper.make_node("ReduceMean", ["map", "axes"], ["mean"], keepdims=0),
        helper.make_node("Constant", [], ["offset"], value=ends),
        helper.make_node("Add", ["mean", "offset"], ["moved"]),
        helper.make_node("ConstantOfShape", ["shape"], ["nothing"]),
        helper.make_node("Where", ["mask", "moved", "nothing"], ["pooled"]),
    ]
    tap = helper.make_tensor_value_info("tap", TensorProto.UINT8, ["batch", 2, 2, 2])
    pooled = helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", 2])
    weights = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "constants", [tap], [pooled], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def test_what_a_graph_computes_with_goes_where_its_weights_are(away):
    """Zero points, masks and numbers that are made as a pass goes."""
    taps = np.random.default_rng(0).integers(0, 9, (3, 2, 2, 2), np.uint8)
    wanted = interpreter.run(constants_of_all_kinds(), taps)
    module = interpreter.Tail(constants_of_all_kinds()).to(away)
    found = module(torch.from_numpy(taps).to(away)).detach().cpu()
    np.testing.assert_array_equal(found.numpy(), wanted)
