"""What training needs, on a backbone of a few nodes: whole jobs, from files to a version, in a fraction of a second."""

import hashlib
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from PIL import Image

from adapters import finetune as pipeline
from adapters.runtime.backbone import Backbones
from adapters.store import backbones, database, examples, heads, jobs
from adapters.store.objects.artifacts import Artifacts
from adapters.training.embedding.embed import Embedder
from adapters.training.publish import drafts
from adapters.types import Assignment, Backbone, Example, HeadRef, HeadVersion, Job, JobRequest, SplitName
from support.graphs import TINY, tiny

SIDE = 16  # pixels, as many as near-duplicates are found by
SMALL = replace(TINY, name="small", digest="s" * 64, spec=replace(TINY.spec, size=SIDE))
COLOURS = {"a": (90, 120, 150), "b": (150, 90, 120), "c": (120, 150, 90)}
QUICK = {"method": "prototype", "views": "none"}  # fields of a request


def small() -> bytes:
    """The graph of SMALL: that of the tiny one, for larger pictures."""
    model = onnx.load_from_string(tiny())
    pixels, features = model.graph.input[0], model.graph.output[1]
    for shape, axes in ((pixels.type.tensor_type.shape, (1, 2)), (features.type.tensor_type.shape, (2, 3))):
        for axis in axes:
            shape.dim[axis].dim_value = SIDE
    return bytes(model.SerializeToString())


@dataclass(frozen=True)
class Picture:
    """A file and what is sent with it."""

    data: bytes
    example: Example


def picture(
    number: int, label: str, split: SplitName | None = None, group: str | None = None, copy: int = 0
) -> Picture:
    """Noise in the colour of a class; another number is another picture, a `copy` is nearly the same one."""
    random = np.random.default_rng(number)
    pixels = random.normal(np.array(COLOURS[label]) + random.normal(0, 12, 3), 30, (SIDE, SIDE, 3)).clip(0, 255)
    pixels[0, 0] = 100 + copy
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "BMP")
    data = file.getvalue()
    return Picture(data, Example(hashlib.sha256(data).hexdigest(), label, f"{number}-{copy}.bmp", split, group))


@dataclass(frozen=True)
class Bench:
    """The same with a database and a folder of its own."""

    shop: pipeline.TrainingContext

    def job(self, head: str, pictures: Sequence[Picture], **request: object) -> Job:
        """One that is accepted, its files stored."""
        for sent in pictures:
            self.shop.artifacts.put(sent.data)
        asked = JobRequest(head, **(QUICK | {"backbone": SMALL.name} | request))
        return jobs.create(self.shop.engine, asked, [sent.example for sent in pictures], fingerprint="")

    def teach(self, head: str, pictures: Sequence[Picture], **request: object) -> HeadVersion:
        """The version that a job makes, served or not."""
        done = self.job(head, pictures, **request)
        pipeline.finetune(done.id, self.shop)
        number = jobs.get(self.shop.engine, done.id).version
        return heads.resolve(self.shop.engine, HeadRef(head, version=number))

    def embedder(self, backbone: Backbone) -> Embedder:
        """The way to embeddings, for a head of the tenant that all heads here are of."""
        return self.shop.embedder(backbone, head="any")

    def draft(self, head: str, pictures: Sequence[Picture], **request: object) -> drafts.Draft:
        """What a job has trained before it is proven."""
        job = self.job(head, pictures, **request)
        pipeline.validate(self.shop, job.id)
        embedded = pipeline.embed(self.shop, job.id)
        return drafts.load(self.shop.artifacts, pipeline.train(self.shop, job.id, embedded))

    def parts(self, head: str) -> dict[str, tuple[Example, Assignment]]:
        """What a head has, by SHA-256, and where its newest version put it."""
        return {e.sha256: (e, a) for e, a in examples.of_head(self.shop.engine, head)}

    def part(self, head: str, *names: SplitName | None) -> set[str]:
        """SHA-256 of the examples in some parts."""
        return {sha for sha, (_, assignment) in self.parts(head).items() if assignment.split in names}


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """A bench with nothing taught yet."""
    engine = database.connect(f"sqlite:///{folder / 'espalier.sqlite'}")
    database.migrate(engine)
    backbones.save(engine, SMALL)
    loaded = Backbones(lambda digest: (SMALL, small()))
    yield Bench(pipeline.TrainingContext(engine, Artifacts(str(folder)), loaded, lanes=2, most={"image": 10**6}))
    engine.dispose()
