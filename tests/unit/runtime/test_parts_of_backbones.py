"""Parts of a backbone, which deep versions read: a trunk tells the tap, a whole the embedding and the tap."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from support.deep import SHAPE, TinyCut
from support.graphs import DIMENSION, SIDE, TINY, tiny

from adapters.backbones import cuts, facts
from adapters.errors import BackboneNotFound
from adapters.runtime.backbone import Backbones, BackboneSession
from adapters.runtime.batcher import Batcher
from adapters.runtime.onnx import session
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Backbone, Cut

PIXELS = np.random.default_rng(1).integers(0, 256, (3, SIDE, SIDE, 3), np.uint8)
CUTS = [TinyCut("float32"), TinyCut("uint8")]
pytestmark = pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.dtype)


def deep_of(cut: TinyCut) -> dict[str, object]:
    return {"cut": cut.told, "trunk": "a" * 64, "whole": "b" * 64}


def whole_of(cut: TinyCut) -> Backbone:
    """As a deep version at that cut reads it beside shallow ones."""
    return cuts.of(TINY, cuts.part(TINY.digest, deep_of(cut), "whole"))


def plain(graph: bytes, name: str, pixels: np.ndarray = PIXELS) -> np.ndarray:
    """What ONNX Runtime says."""
    return session.create(graph).run([name], {"pixels": pixels})[0]


def test_a_trunk_tells_the_tap_in_the_dtype_of_the_cut(cut):
    trunk = cuts.trunk_of(TINY, deep_of(cut))
    told = BackboneSession(trunk, cut.trunk()).embed([{"pixels": one} for one in PIXELS])
    assert (told.dtype, told.shape) == (np.dtype(cut.dtype), (3, *SHAPE))
    np.testing.assert_array_equal(told, plain(cut.trunk(), "tap"))


def test_a_whole_tells_pairs_of_embedding_and_tap(cut):
    whole = whole_of(cut)
    pairs = BackboneSession(whole, cut.whole()).embed([{"pixels": one} for one in PIXELS])
    np.testing.assert_array_equal(np.stack([pair[0] for pair in pairs]), plain(tiny(), "pooled"))
    np.testing.assert_array_equal(np.stack([pair[1] for pair in pairs]), plain(cut.trunk(), "tap"))


@pytest.mark.parametrize("kind", cuts.KINDS)
def test_another_graph_under_the_same_names_is_another_part(cut, kind):
    """As of a release that cuts elsewhere: neither is served in the place of the other."""
    deep = deep_of(cut)
    one, other = (cuts.part(TINY.digest, made, kind) for made in (deep, deep | {kind: "c" * 64}))
    assert one.digest != other.digest and one == cuts.part(TINY.digest, deep, kind)
    aside = {"trunk": "whole", "whole": "trunk"}[kind]
    assert cuts.part(TINY.digest, deep | {aside: "c" * 64}, kind) == one


@pytest.mark.parametrize("kind", cuts.KINDS)
def test_buffers_as_a_gpu_has_them_give_the_same(cut, kind):
    graph = cut.trunk() if kind == "trunk" else cut.whole()
    served = BackboneSession(cuts.of(TINY, cuts.part(TINY.digest, deep_of(cut), kind)), graph)
    inputs = [{"pixels": one} for one in np.concatenate([PIXELS] * 25)]  # more than the largest pass holds
    for one, other in zip(served.bound.embed(inputs), served.embed(inputs), strict=True):
        for a, b in zip(one, other, strict=True) if isinstance(one, tuple) else [(one, other)]:
            np.testing.assert_array_equal(a, b)


def test_a_batcher_hands_on_what_a_part_tells(cut):
    batcher = Batcher(BackboneSession(cuts.trunk_of(TINY, deep_of(cut)), cut.trunk()))
    np.testing.assert_array_equal(batcher.embed({"pixels": PIXELS[1]}), plain(cut.trunk(), "tap", PIXELS[1:2])[0])


def test_parts_are_opened_from_the_artifact_store(cut, tmp_path: Path):
    engine, artifacts = database.connect(f"sqlite:///{tmp_path / 'e.sqlite'}"), Artifacts(str(tmp_path))
    database.migrate(engine)
    base = replace(TINY, artifact=artifacts.put(tiny()))
    backbones.add(engine, artifacts, base, tiny())
    deep = cut.stored(artifacts)

    def load(source):
        found = backbones.find_source(engine, source)
        return found, backbones.stored(artifacts, found)

    loaded = Backbones(load)
    for kind in ("trunk", "whole"):
        part = cuts.part(base.digest, deep, kind)
        assert loaded.get(part) is loaded.get(part)
        assert loaded.get(part).backbone == cuts.of(base, part)
    with pytest.raises(BackboneNotFound):
        loaded.get(cuts.part("e" * 64, deep, "trunk"))
    engine.dispose()


def test_names_of_parts_are_those_of_the_contract(cut):
    trunk, whole = cuts.trunk_of(TINY, deep_of(cut)), whole_of(cut)
    assert len({TINY.digest, trunk.digest, whole.digest}) == 3
    assert trunk.artifact == "a" * 64 and whole.artifact == "b" * 64
    assert (trunk.output, whole.output, TINY.output) == ("tap", "pooled", "pooled")
    assert [output.name for output in whole.outputs] == ["pooled", "tap"]
    assert whole.outputs[0].shape == (DIMENSION,) and trunk.outputs[0].shape == SHAPE
    assert facts.from_json(facts.to_json(trunk)) == trunk


def test_a_cut_as_training_tells_it_will_do(cut):
    told = asdict(Cut("blocks.0", "features", "map", cut.dtype, SHAPE, 1, 0.25, 1000))
    assert cuts.part("d" * 64, {"cut": told, "trunk": "a"}, "trunk") == cuts.part(
        "d" * 64, {"cut": cut.told, "trunk": "a"}, "trunk"
    )
