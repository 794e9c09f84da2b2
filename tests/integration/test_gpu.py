"""With a GPU: backbones run there whole, answer as they do elsewhere, and are refused where they do not; fits, too."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support import deep_fits, teachable
from support.deep import SHAPE, TinyCut
from support.graphs import DIMENSION, TINY, tiny

from adapters.backbones.cards import DEFAULT
from adapters.errors import DeviceError
from adapters.runtime.backbone import GPU_BATCHES, BackboneSession
from adapters.runtime.heads.head import DeepHead, Head
from adapters.runtime.heads.pairs import Pairs
from adapters.runtime.onnx import devices, session
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone.precisions import fp16
from adapters.training.deep import interpreter
from adapters.types import Backbone
from benchmarks.deep_copies import CutBackbone

TROUBLE = devices._trouble()
pytestmark = [pytest.mark.gpu, pytest.mark.skipif(TROUBLE is not None, reason=str(TROUBLE))]
PIXELS = np.random.default_rng(0).integers(0, 256, (GPU_BATCHES[-1], 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def embedded(prepared: Path) -> tuple[Backbone, bytes]:
    """The embedded backbone as `espalier init` built it."""
    engine = database.connect(f"sqlite:///{prepared / 'espalier.sqlite'}")
    backbone = backbones.find(engine, DEFAULT)
    engine.dispose()
    return backbone, Artifacts(str(prepared / "artifacts")).get(backbone.artifact)


@pytest.fixture(scope="module")
def on_gpu(embedded) -> BackboneSession:
    return BackboneSession(*embedded, "cuda")


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(axis=1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))


def test_auto_takes_the_gpu(embedded):
    assert BackboneSession(*embedded, "auto").device == "cuda"


def test_every_node_runs_there(on_gpu):
    assert on_gpu._session.get_providers()[0] == devices.CUDA
    assert not devices.computed_on_cpu(on_gpu._session)


@pytest.mark.parametrize("count", [*GPU_BATCHES, 3, 33])
def test_passes_with_buffers_answer_as_runs_do(on_gpu, count):
    plain = on_gpu.plain({"pixels": PIXELS[:count]})
    np.testing.assert_allclose(on_gpu.embed({"pixels": PIXELS[:count]}), plain, atol=1e-3 * np.abs(plain).max())


def test_it_answers_as_the_cpu_does(on_gpu, embedded):
    assert (
        cosines(on_gpu.embed({"pixels": PIXELS[:8]}), BackboneSession(*embedded).plain({"pixels": PIXELS[:8]})).min()
        > 0.99999
    )


def test_fp16_answers_nearly_as_fp32_does(on_gpu, embedded):
    backbone, graph = embedded
    half = BackboneSession(backbone, fp16.convert(graph, PIXELS[:0]), "cuda")
    assert cosines(half.embed({"pixels": PIXELS}), on_gpu.embed({"pixels": PIXELS})).min() > fp16.LEAST_WORST


def test_a_graph_that_a_gpu_does_not_run_whole_is_refused():
    with pytest.raises(DeviceError, match="1 Binarizer"):
        session.create(tiny(stray=True), "cuda")


def test_auto_runs_such_a_graph_on_the_cpu():
    assert BackboneSession(TINY, tiny(stray=True), "auto").device == "cpu"


def test_a_graph_that_reads_shapes_is_not():
    assert BackboneSession(TINY, tiny(), "cuda").device == "cuda"


# Deep fits
@pytest.mark.parametrize(
    "how", [{}, {"ema": 0.9, "dropout": 0.2}, {"name": "all", "mixup": 0.4, "augment": "crop"}, {"optimizer": "sgd"}]
)
def test_a_deep_fit_learns_there_and_what_it_exports_answers_as_it_does(tmp_path, how):
    settings = {"epochs": 8, "learning_rate": 0.003, "name": "a.1"} | how
    fitting = deep_fits.fitting(tmp_path, **settings)
    fit = fitting.run(lambda state: None)
    assert fitting.network.device.type == "cuda"
    assert fit.curves[-1]["train_loss"] < fit.curves[0]["train_loss"]
    taps = fitting._batches.taps
    told = fitting.network.pooled(taps, np.arange(16, 24), lambda: None)
    exported = interpreter.run(fitting.network.tail.to_onnx(), taps.served(np.arange(16, 24)).numpy())
    np.testing.assert_allclose(told, exported, atol=1e-2 * np.abs(exported).max())


@pytest.mark.parametrize("how", [{"name": "a.1"}, {"name": "all", "mixup": 0.4, "augment": "crop"}])
def test_a_deep_fit_has_the_same_bits_for_a_seed(tmp_path, how):
    one, other = (deep_fits.fitting(tmp_path / name, epochs=3, **how).run(lambda state: None) for name in ("a", "b"))
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(one.weights, other.weights, strict=True))


def test_a_deep_version_is_taught_there(tmp_path):
    """A whole job: taps, fits, export, proof."""
    with teachable.bench(tmp_path) as shop:
        version = shop.teach("there", teachable.pictures(20), **teachable.DEEP)
        assert version.manifest["deep"]["cut"]["name"] == "blocks.1"
        assert np.isfinite(teachable.said(shop, version, [p.example for p in teachable.pictures(3)])).all()


# Deep heads
@pytest.mark.parametrize("cut", [TinyCut("float32"), TinyCut("uint8"), TinyCut("float32", beside=DIMENSION)], ids=str)
def test_deep_heads_run_there_and_answer_as_on_the_cpu(cut):
    graph, random = cut.head(3), np.random.default_rng(0)
    there, here = Head.from_bytes(graph, "cuda"), Head.from_bytes(graph)
    assert isinstance(there, DeepHead) and there.device == "cuda"
    for count in (1, 3, 8, 70):
        taps = random.integers(0, 9, (count, *SHAPE)).astype(cut.dtype)
        rows = Pairs(taps, random.normal(size=(count, DIMENSION)).astype(np.float32)) if cut.beside else taps
        said, wanted = there.answer(rows), here.answer(rows)
        for name, array in wanted.arrays.items():
            np.testing.assert_allclose(said.arrays[name], array, atol=1e-4)


def test_a_tail_in_8_bits_stays_on_the_cpu(embedded):
    backbone, graph = embedded
    parts = CutBackbone.of(graph, backbone.spec.size, "blocks.5", backbone.dimension)
    taps = np.random.default_rng(0).random((16, *parts.cut.shape)).astype(np.float32)
    assert Head.from_bytes(parts.head(0, ("a", "b")), "cuda").device == "cuda"
    assert Head.from_bytes(parts.rounded(taps).head(0, ("a", "b")), "cuda").device == "cpu"
