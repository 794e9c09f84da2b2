"""A predictor in this process with shallow and deep versions of the tiny backbone, published straight into a store."""

import asyncio
import io
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adapters.monitoring.monitor import Monitor
from adapters.predict import Predictions, Predictor, predict
from adapters.runtime.backbone import Backbones
from adapters.runtime.embedding_memory import EmbeddingMemory
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.meters import Meters
from adapters.runtime.queueing.traffic import Traffic
from adapters.store import backbones, database, heads, jobs, publishing
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.training.publish import export
from adapters.types import Backbone, Clip, HeadProgram, HeadRef, JobRequest, Linear, Softmax
from support.deep import TinyCut
from support.graphs import DIMENSION, TINY, tiny

CLASSES = ("a", "b", "c")
FLOAT, BYTES = TinyCut("float32", "blocks.0", 0.5), TinyCut("uint8", "blocks.1", 0.25)
BOTH = TinyCut("float32", "blocks.0", 0.5, beside=DIMENSION)  # in which a shallow head has a say


def picture(seed: int) -> bytes:
    """Noise; all of them are files of one length."""
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (8, 8, 3), np.uint8)).save(file, "BMP")
    return file.getvalue()


class Served:
    """`shallow-N` and `deep-N` (blocks.0, f32) and `bytes-N` (blocks.1, u8), N of 0 to 2, each with its own numbers."""

    def __init__(self, folder: Path, *, memory: int = 0, max_bytes: int = 2**30, lanes: int = 2) -> None:
        self.folder = folder
        self.engine = database.connect(f"sqlite:///{folder / 'espalier.sqlite'}")
        database.migrate(self.engine)
        self.artifacts = Artifacts(str(folder))
        self.base = replace(TINY, artifact=self.artifacts.put(tiny()))
        backbones.add(self.engine, self.artifacts, self.base, tiny())
        self.counted: Counter[str] = Counter()
        count = lambda name: lambda *_: self.counted.update([name])  # noqa: E731
        meters = Meters(backbone_seconds=count("passes"), tail_seconds=count("tails"), cache_hit=count("hits"))
        live = LiveHeads(self.engine, self.artifacts, max_bytes=max_bytes)
        traffic = Traffic(lanes, 10_000, 2**30, 60.0, meters)
        self.monitor = Monitor(self.engine, every=3600)
        remembered = EmbeddingMemory(memory, meters)
        self.predictor = Predictor(live, Backbones(self._load), traffic, memory=remembered, monitor=self.monitor)

    def _load(self, source: Any) -> Any:
        found = backbones.find_source(self.engine, source)
        return found, backbones.stored(self.artifacts, found)

    def close(self) -> None:
        """Leave no thread behind."""
        self.predictor.close()
        self.engine.dispose()

    def fill(self) -> "Served":
        """All nine heads."""
        for n in range(3):
            self.shallow(f"shallow-{n}", n)
            self.deep(f"deep-{n}", 10 + n, FLOAT)
            self.deep(f"bytes-{n}", 20 + n, BYTES)
        return self

    def backbone(self, channels: int) -> Backbone:
        """Another tiny one, which reads pixels of so many channels."""
        graph, half = tiny(channels=channels), (0.5,) * channels
        spec = replace(TINY.spec, mean=half, std=half)
        name, digest = f"tiny-{channels}", str(channels) * 64
        found = replace(TINY, name=name, digest=digest, spec=spec, artifact=self.artifacts.put(graph))
        backbones.add(self.engine, self.artifacts, found, graph)
        return found

    def shallow(self, head: str, seed: int, **options: Any) -> int:
        """Publish a version that reads `pooled`; its number. `on`: of another backbone."""
        random = np.random.default_rng(seed)
        numbers = lambda *shape: random.normal(size=shape).astype(np.float32) / 200  # noqa: E731
        novelty = (Linear(numbers(DIMENSION, 1) / 10, np.array([0.6], np.float32)), Clip(0.0, 1.0))
        program = HeadProgram((Linear(numbers(DIMENSION, 3), numbers(3)), Softmax()), novelty)
        graph = export.to_onnx(program, DIMENSION, CLASSES, {"of": f"{head} {seed}"})
        return self._publish(head, graph, {}, **options)

    def deep(self, head: str, seed: int, cut: TinyCut = FLOAT, **options: Any) -> int:
        """Publish a deep version, as a job would."""
        graph = cut.head(seed, metadata={"of": f"{head} {seed}"})
        return self._publish(head, graph, {"deep": cut.stored(self.artifacts), "reads": "tap"}, **options)

    def _publish(self, head: str, graph: bytes, more: dict[str, Any], **options: Any) -> int:
        request, on = JobRequest(head, deploy=options.pop("deploy", "auto")), options.pop("on", self.base)
        job = jobs.create(self.engine, request, [], fingerprint="")
        manifest = {
            "backbone": {"digest": on.digest, "name": on.name, "precision": "fp32"}, "classes": CLASSES,
            "task": "classification", "trust": {"novelty": {}, "held_out": 0}, "method": "deep" if more else "ridge",
            "metrics": {},
        } | more  # fmt: skip
        live = heads.find_live(self.engine, head)
        digest = self.artifacts.put(graph)
        made = Publication(job.id, request, digest, manifest, {}, {}, [], False, live and live.number)
        return publishing.publish(self.engine, made)

    async def ask(self, names: list[str], images: list[bytes], **options: Any) -> Predictions:
        """One request."""
        refs = [HeadRef(*_parted(name)) for name in names]
        return await predict(self.predictor, images, refs, **{"timeout": 60.0} | options)

    def __call__(self, names: list[str], images: list[bytes], **options: Any) -> list[tuple[int, str, dict]]:
        """(image, head, answer) of one request, in order."""
        found = asyncio.run(self.ask(names, images, **options)).predictions
        return [(p.index, p.head.version.head, p.answer) for p in found]

    def spoil(self, digest: str) -> None:
        """Turn a bit of a stored blob."""
        path = self.folder / "blobs" / digest[:2] / digest
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def _parted(name: str) -> tuple[str, int | None]:
    stem, _, version = name.partition("@")
    return stem, int(version) if version else None
