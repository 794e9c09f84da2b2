"""Deep versions of the embedded backbone, cut late and early, in fp32 and int8: served as by tail and trunk."""

import asyncio
import io
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adapters import malloc
from adapters.backbones import facts
from adapters.modalities.image import calibration, decode
from adapters.predict import Predictor, predict
from adapters.runtime.backbone import Backbones
from adapters.runtime.heads.head import Head
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.meters import Meters
from adapters.runtime.onnx import session
from adapters.runtime.onnx.mapped import MappedGraphs
from adapters.runtime.queueing.traffic import Traffic
from adapters.store import backbones, database, heads, jobs, publishing
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.training.backbone.precisions import int8
from adapters.training.publish import export
from adapters.types import Backbone, HeadProgram, HeadRef, JobRequest, Linear, Softmax
from benchmarks.deep_copies import CutBackbone

CLASSES = ("a", "b", "c")
NAMES = ["blocks.5", "blocks.4", "all"]


class Served:
    """On a copy of a home: `shallow`, and a deep head for each cut and precision, from mapped files as in a service."""

    def __init__(self, home: Path) -> None:
        self.engine = database.connect(f"sqlite:///{home / 'espalier.sqlite'}")
        self.artifacts = Artifacts(str(home / "artifacts"))
        self.mapped = MappedGraphs(home / "mapped")
        self.passes = 0
        self.parts: dict[str, CutBackbone] = {}
        traffic = Traffic(2, 10_000, 2**30, 60.0, Meters(backbone_seconds=self._passed))
        live = LiveHeads(self.engine, self.artifacts, max_bytes=2**30)
        self.predictor = Predictor(live, Backbones(self._load), traffic)
        full = backbones.find(self.engine, "tf_efficientnet_lite0")
        self._fill(full, full.precision)
        self._fill(self._small(full), "int8")

    def _passed(self, _: float) -> None:
        self.passes += 1

    def _load(self, source: Any) -> Any:
        found = backbones.find_source(self.engine, source)
        return found, self.mapped.graph(found, lambda: backbones.stored(self.artifacts, found))

    def _small(self, full: Backbone) -> Backbone:
        graph = int8.convert(self.artifacts.get(full.artifact), calibration.crops(full.spec).calibrated[:8])
        artifact = self.artifacts.put(graph)
        digest = facts.digest(artifact, full.spec, "int8")
        made = replace(full, name="small", digest=digest, artifact=artifact, precision="int8")
        backbones.add(self.engine, self.artifacts, made, graph)
        return made

    def _fill(self, backbone: Backbone, precision: str) -> None:
        weight = np.random.default_rng(0).normal(size=(backbone.dimension, 3)).astype(np.float32) / 30
        program = HeadProgram((Linear(weight, np.zeros(3, np.float32)), Softmax()))
        self._publish(f"shallow-{precision}", export.to_onnx(program, backbone.dimension, CLASSES, {}), backbone, {})
        for seed, name in enumerate(NAMES):
            graph = self.artifacts.get(backbone.artifact)
            part = CutBackbone.of(graph, backbone.spec.size, name, backbone.dimension)
            self.parts[f"{name}-{precision}"] = part
            deep = {"deep": part.stored(self.artifacts)}
            self._publish(f"{name}-{precision}", part.head(seed, CLASSES), backbone, deep)

    def _publish(self, head: str, graph: bytes, backbone: Backbone, more: dict[str, Any]) -> None:
        job = jobs.create(self.engine, JobRequest(head), [], fingerprint="")
        of = {"digest": backbone.digest, "name": backbone.name, "precision": backbone.precision}
        manifest = {"backbone": of, "classes": CLASSES, "task": "classification", "trust": {}} | more
        digest = self.artifacts.put(graph)
        made = Publication(job.id, JobRequest(head), digest, manifest, {}, {}, [], False, None)
        publishing.publish(self.engine, made)

    def __call__(self, *names: str, images: list[bytes]) -> dict[str, list[dict[str, float]]]:
        """Scores by class of each image, by head."""
        refs = [HeadRef(name) for name in names]
        found = asyncio.run(predict(self.predictor, images, refs, timeout=60.0)).predictions
        return {
            name: [{t["label"]: t["score"] for t in p.answer["top"]} for p in found if p.head.version.head == name]
            for name in names
        }


@pytest.fixture(scope="module")
def served(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("deep") / "home"))
    made = Served(home)
    yield made
    made.predictor.close()
    made.engine.dispose()


def picture(seed: int) -> bytes:
    """Soft colours, 60 pixels wide."""
    file = io.BytesIO()
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 6, 3), np.uint8))
    small.resize((60, 60), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", NAMES)
def test_a_deep_head_says_what_its_tail_says_of_the_trunk(served, name, precision):
    """Bit for bit, asked alone and beside a shallow head; and that one says what it says alone. One pass each time."""
    head, shallow = f"{name}-{precision}", f"shallow-{precision}"
    part, image = served.parts[head], picture(1)
    base = served.predictor.live.get(HeadRef(head)).backbone_digest
    pixels = decode(image, backbones.find_digest(served.engine, base).spec, most=10**6)["pixels"][None]
    (tap,) = session.create(part.trunk).run(["tap"], {"pixels": pixels})
    assert (tap.dtype.name, tap.shape[1:]) == (part.cut.dtype, part.cut.shape)
    graph = heads.stored(served.artifacts, heads.resolve(served.engine, HeadRef(head)))
    (wanted,) = session.create(graph).run(["probabilities"], {"tap": tap})
    alone = served(shallow, images=[image])
    before = served.passes
    assert served(head, images=[image]) == {head: [dict(zip(CLASSES, wanted[0].tolist(), strict=True))]}
    assert served(shallow, head, images=[image]) == alone | served(head, images=[image])
    assert served.passes == before + 3


@pytest.mark.slow
def test_trunks_and_wholes_are_mapped(served):
    """So that all processes share one copy."""
    served("blocks.5-fp32", images=[picture(2)])
    served("blocks.5-fp32", "shallow-fp32", images=[picture(2)])
    base = served.predictor.live.get(HeadRef("blocks.5-fp32")).backbone_digest
    folders = [path.name for path in served.mapped._folder.iterdir()]
    assert len([name for name in folders if name.startswith(f"{base}-")]) >= 2


def test_pooled_of_the_tail_comes_with_the_answer(served):
    """It is what the head's first step reads."""
    part = served.parts["blocks.5-fp32"]
    head = Head.from_bytes(part.head(7, CLASSES))
    taps = np.random.default_rng(0).random((3, *part.cut.shape), np.float32)
    said = head.answer(taps)
    assert said.pooled.shape == (3, part.dimension) and set(said.arrays) == {"probabilities", "novelty"}
    assert head.reads == 0 and head.cut == "blocks.5"


def test_a_deep_head_takes_no_more_memory_than_its_file_and_a_little(served):
    """What Python would keep of each, its bytes, and what making it took are given back: at most 1.3 times its file."""
    part = served.parts["blocks.5-fp32"]
    graphs = [part.head(seed, CLASSES) for seed in range(12)]
    taps = np.random.default_rng(0).random((1, *part.cut.shape), np.float32)
    Head.from_bytes(graphs[0]).answer(taps)
    malloc.trim()
    before = _resident()
    loaded = [Head.from_bytes(graph) for graph in graphs]
    for head in loaded:
        head.answer(taps)
    assert (_resident() - before) / sum(map(len, graphs)) <= 1.3
    assert sum(map(len, graphs)) <= sum(head.bytes for head in loaded) <= 1.3 * sum(map(len, graphs))


def _resident() -> int:
    """Bytes of this process that no file backs."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon"))
