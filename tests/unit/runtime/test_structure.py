"""A head taken apart answers as it did whole, and shares what it can."""

import gc

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx import TensorProto

from adapters.runtime.heads.head import Head
from adapters.runtime.heads.structure import Structures, take_apart
from adapters.runtime.onnx import session
from adapters.training.publish import export
from adapters.types import Affine, Clip, HeadProgram, L2Normalize, Linear, Minimum, Power, Relu, Scale, Softmax

D, K = 6, 3
GENERATOR = np.random.default_rng(0)
X = np.abs(GENERATOR.normal(size=(5, D))).astype(np.float32)


def array(*shape: int) -> np.ndarray:
    return GENERATOR.normal(size=shape).astype(np.float32)


def graph(classes: int = K) -> bytes:
    """A head with every kind of step, unlike any other."""
    told = (Power(0.5), L2Normalize(), Linear(array(D, 2), array(2)), Minimum(), Clip(0.0, 1.0))
    steps = (Power(0.5), L2Normalize(), Affine(array(D), array(D)), Linear(array(D, 4), array(4)), Relu())
    end = (Linear(array(4, classes), array(classes)), Scale(1.3), Softmax())
    return export.to_onnx(HeadProgram((*steps, *end), told), D, [str(k) for k in range(classes)], {"who": "me"})


def test_a_head_taken_apart_answers_bit_by_bit_as_its_graph_does():
    for data in (graph(), graph()):
        whole = session.create(data, arena=False, prepack=False).run(["probabilities", "novelty"], {"embedding": X})
        answers = Head.from_bytes(data).answer(X)
        np.testing.assert_array_equal(answers.arrays["probabilities"], whole[0])
        np.testing.assert_array_equal(answers.novelty, whole[1])


def test_heads_that_differ_in_numbers_alone_share_a_session_and_the_last_takes_it_along():
    structures = Structures()
    one, other, larger = (take_apart(graph(k)) for k in (K, K, K + 1))
    assert one.structure == other.structure != larger.structure
    assert not np.array_equal(one.weights["s3.weight"], other.weights["s3.weight"])
    found, made = structures.get(one.structure)
    assert made and structures.get(other.structure) == (found, False)
    del found
    gc.collect()
    assert structures.get(other.structure)[1]


def test_the_first_head_of_a_structure_counts_its_session():
    first, second = Head.from_bytes(graph(7)), Head.from_bytes(graph(7))
    assert first.bytes > second.bytes > sum(a.nbytes for a in take_apart(graph(7)).weights.values())


def test_metadata_stays_with_the_head():
    assert Head.from_bytes(graph()).metadata == {"who": "me", "labels": '["0", "1", "2"]'}


def test_constants_of_other_types_belong_to_the_structure():
    assert {name for name in take_apart(graph()).weights if name.endswith(".axes")} == set()


def test_a_tensor_in_another_file_is_not_read():
    model = onnx.load_from_string(graph())
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")
    assert tensor.name not in take_apart(model.SerializeToString()).weights
    with pytest.raises(Exception, match=r"(?i)external"):
        Head.from_bytes(model.SerializeToString())


def test_other_bytes_are_refused():
    with pytest.raises(DecodeError):
        take_apart(b"not a graph")
