"""A real backbone whose images go in passes answers as it does one by one: batches are no other model."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from support.pictures import shape

from adapters.backbones.cards import DEFAULT
from adapters.predict import Predictor, embed
from adapters.runtime.backbone import Backbones, BackboneSession
from adapters.runtime.batcher import Batcher
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.meters import Meters
from adapters.runtime.queueing.traffic import Traffic
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from service.loading import load_backbone


class Batching(BackboneSession):
    """A backbone of which somebody says that batching pays."""

    max_batch = 8


@pytest.fixture
def predictor(prepared: Path):
    engine, artifacts = (
        database.connect(f"sqlite:///{prepared / 'espalier.sqlite'}"),
        Artifacts(f"{prepared}/artifacts"),
    )
    loaded = Backbones(lambda digest: load_backbone(engine, artifacts, digest))
    sizes: list[float] = []
    traffic = Traffic(4, 1000, 2**30, 60.0, Meters(batch_inputs=sizes.append))
    made = Predictor(LiveHeads(engine, artifacts, max_bytes=2**20), loaded, traffic)
    yield made, backbones.find(engine, DEFAULT), artifacts, sizes
    made.close()
    engine.dispose()


def test_passes_of_several_requests_embed_as_single_images_do(predictor):
    made, backbone, artifacts, sizes = predictor
    images = [shape(kind, seed) for kind in ("circle", "bar") for seed in range(12)]
    images.insert(5, b"not an image")

    async def ask() -> list[np.ndarray]:
        requests = [embed(made, images[n::3], backbone.digest, "skip", str(n)) for n in range(3)]
        return [found.embeddings for found in await asyncio.gather(*requests)]

    alone = asyncio.run(ask())
    assert set(sizes) == {1.0}
    batcher = Batcher(Batching(backbone, artifacts.get(backbone.artifact)), made.traffic.meters)
    made.batchers[backbone.digest] = batcher
    sizes.clear()
    together = asyncio.run(ask())
    assert max(sizes) > 1 and sum(sizes) == len(images) - 1
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
