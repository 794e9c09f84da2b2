"""Unlearning is exact where examples are held out for good, too: there a deleted one has decided who else is."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from adapters import finetune as pipeline
from adapters.runtime.backbone import Backbones
from adapters.runtime.heads.head import Head
from adapters.store import backbones, database, examples, heads, jobs
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Edit, Example, HeadRef, HeadVersion, JobRequest
from service.loading import load_backbone

BACKBONE = "tf_efficientnet_lite0"
COUNT, CLASSES = 2100, 3  # over the limit for a test set of our own


@pytest.fixture
def shop(home: Path) -> Iterator[pipeline.TrainingContext]:
    """Training whose cache holds made-up embeddings: three clouds, so that nothing need be embedded."""
    engine = database.connect(f"sqlite:///{home / 'espalier.sqlite'}")
    artifacts = Artifacts(str(home / "artifacts"))
    loaded = Backbones(lambda digest: load_backbone(engine, artifacts, digest))
    random = np.random.default_rng(0)
    backbone = backbones.find(engine, BACKBONE)
    centres = random.normal(size=(CLASSES, backbone.length))
    noise = random.normal(size=(COUNT, backbone.length))
    vectors = (centres[np.arange(COUNT) % CLASSES] + 4 * noise).astype(np.float32)
    prints = random.integers(0, 256, (COUNT, 256), dtype=np.uint8)
    rows = zip(everything(), vectors, prints, strict=True)
    EmbeddingCache(engine, backbone.digest).put(Embedded(e.sha256, v, p) for e, v, p in rows)
    yield pipeline.TrainingContext(engine, artifacts, loaded, lanes=1, most={"image": 10**6})
    engine.dispose()


def everything() -> list[Example]:
    names = [hashlib.sha256(str(n).encode()).hexdigest() for n in range(COUNT)]
    return [Example(sha, "abc"[n % CLASSES], f"{n}.png") for n, sha in enumerate(names)]


def run(shop: pipeline.TrainingContext, request: JobRequest, items: list[Example]) -> HeadVersion:
    """The version of a job run to its end."""
    job = jobs.create(shop.engine, request, items, fingerprint="")
    assert pipeline.finetune(job.id, shop) == "succeeded"
    return heads.resolve(shop.engine, HeadRef(request.head))


def test_what_is_left_is_split_and_trained_as_if_the_others_had_never_been_sent(shop):
    """Same graph output to 1e-6, same figures, same split; without unlearning the split it would be another head."""
    request = JobRequest("whole", method="prototype", backbone=BACKBONE)
    items = everything()
    first = run(shop, request, items)
    assert first.manifest["metrics"]["evaluation"] == "holdout"
    held_out = [e for e, a in examples.of_head(shop.engine, "whole") if a.split == "test"]
    unlearned = run(shop, replace(request, edit=Edit(remove=20), deploy="always"), held_out[:20])
    gone = {e.sha256 for e in held_out[:20]}
    never = run(shop, replace(request, head="never"), [e for e in items if e.sha256 not in gone])
    assert unlearned.manifest["data"]["digest"] == never.manifest["data"]["digest"]
    assert unlearned.manifest["metrics"] == never.manifest["metrics"]
    probes = np.random.default_rng(1).normal(size=(50, 3464)).astype(np.float32)
    one, other = (Head.from_bytes(shop.artifacts.get(v.digest)).answer(probes).arrays for v in (unlearned, never))
    np.testing.assert_allclose(one["probabilities"], other["probabilities"], atol=1e-6)
    assert [v.number for v in heads.summary(shop.engine, "whole").versions] == [2]


def test_two_deletions_of_one_example_both_succeed(shop):
    """Accepted while neither had run: the second finds nothing left to do, and nothing to fail for."""
    request = JobRequest("twice", method="prototype", backbone=BACKBONE, views="none")  # there are no images
    items = everything()[:60]
    run(shop, request, items)
    again = replace(request, edit=Edit(remove=1), deploy="always")
    waiting = [jobs.create(shop.engine, again, items[:1], fingerprint="") for _ in range(2)]
    assert [pipeline.finetune(job.id, shop) for job in waiting] == ["succeeded"] * 2
    assert [jobs.get(shop.engine, job.id).version for job in waiting] == [2, 3]
    assert len(examples.of_head(shop.engine, "twice")) == 59
    assert EmbeddingCache(shop.engine, backbones.find(shop.engine, BACKBONE).digest).missing([items[0].sha256])
