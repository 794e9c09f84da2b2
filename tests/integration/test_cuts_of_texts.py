"""Cuts of MiniLM, the encoder that comes with Espalier."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from adapters.modalities import text
from adapters.runtime.onnx import session
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import cuts, observing
from adapters.training.deep import interpreter
from adapters.types import Backbone

NAMES = [f"encoder.layer.{number}" for number in range(5)]


@pytest.fixture(scope="module")
def built(prepared: Path) -> tuple[Backbone, bytes]:
    engine = database.connect(f"sqlite:///{prepared / 'espalier.sqlite'}")
    backbone = backbones.find(engine, "minilm")
    engine.dispose()
    return backbone, backbones.stored(Artifacts(str(prepared / "artifacts")), backbone)


def test_its_blocks_are_on_record(built):
    """All but the last, behind which no layer multiplies, each with a sixth of the work."""
    backbone, graph = built
    found = cuts.of(backbone, graph)
    assert [cut.name for cut in found] == NAMES
    assert [round(6 * cut.share) for cut in found] == [5, 4, 3, 2, 1]
    assert {(cut.kind, cut.dtype, cut.shape[1], cut.stride) for cut in found} == {("sequence", "float32", 385, None)}


def test_of_one_that_was_built_before_there_were_any_they_are_found_in_its_graph(built):
    backbone, graph = built
    older = replace(backbone, details={key: value for key, value in backbone.details.items() if key != "cuts"})
    assert cuts.of(older, graph) == cuts.of(backbone, graph)


@pytest.mark.parametrize("name", [*(pytest.param(each, marks=pytest.mark.slow) for each in NAMES[:4]), NAMES[4]])
def test_halves_have_the_bits_of_the_whole(built, name):
    """Of texts alone and padded among others: see `text.trial`."""
    backbone, graph = built
    cuts.prove(graph, cuts.named(cuts.of(backbone, graph), name), observing.of(backbone))


def read(backbone: Backbone, trunk: bytes, texts: list[str]) -> np.ndarray:
    items: list[Any] = [text.decode(each.encode(), backbone.spec) for each in texts]
    (tap,) = session.create(trunk).run(None, dict(text.collate(items, backbone.spec)))
    return np.asarray(tap)


@pytest.mark.parametrize("name", [NAMES[4], NAMES[2]])
def test_torch_computes_what_a_tail_does_and_its_slopes_are_finite(built, name):
    """Of rows that are padded, too, whose masked places have no share of attention."""
    backbone, graph = built
    cut = cuts.named(cuts.of(backbone, graph), name)
    tail, tap = cuts.floated(cuts.tail(graph, cut)), read(backbone, cuts.trunk(graph, cut), ["hi", "where is it? " * 9])
    (wanted,) = session.create(tail).run(None, {"tap": tap})
    np.testing.assert_allclose(interpreter.run(tail, tap), wanted, atol=1e-5)
    module = interpreter.Tail(tail)
    module(interpreter.as_input(torch.from_numpy(tap))).square().sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in module.weights)
    groups = [block for block, _ in module.groups()]
    assert groups == [f"layer.{number}" for number in range(int(name[-1]), 6)]
