"""A job that was at work when Espalier was upgraded goes on where it was."""

import json
from pathlib import Path

from support.training import bench, picture

from adapters import finetune as pipeline
from adapters.store import heads
from adapters.training.publish import drafts
from adapters.types import HeadRef


def test_a_draft_from_before_there_were_taps_is_published(tmp_path: Path):
    """It does not say what it reads, and reads the first part of an embedding."""
    with bench(tmp_path) as shop:
        job = shop.job("old", [picture(n, "ab"[n % 2]) for n in range(24)])
        pipeline.validate(shop.shop, job.id)
        digest = pipeline.train(shop.shop, job.id, pipeline.embed(shop.shop, job.id))
        facts = json.loads(shop.shop.artifacts.get(digest))
        read = facts.pop("reads")
        older = shop.shop.artifacts.put(json.dumps(facts).encode())
        assert drafts.load(shop.shop.artifacts, older).reads == read
        proven = pipeline.prove(shop.shop, job.id, older)
        assert pipeline.publish(shop.shop, job.id, older, proven) == "succeeded"
        version = heads.resolve(shop.shop.engine, HeadRef("old"))
        assert version.manifest["inputs"]["embedding"] == ["batch", read]
