"""Embeddings, backbones and blobs in the store come back as they were put."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from support.published import publish, sha

from adapters.errors import Conflict, CorruptArtifact
from adapters.modalities.image import Preprocessing
from adapters.store import backbones, heads
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Backbone


def test_embeddings_come_back_exactly_and_in_the_order_asked_for(engine):
    random = np.random.default_rng(0)
    cache, keys = EmbeddingCache(engine, "b"), [sha(str(n)) for n in range(1200)]
    vectors = random.normal(size=(1200, 8)).astype(np.float32)
    prints = random.integers(0, 256, (1200, 256), dtype=np.uint8)
    cache.put(Embedded(*row) for row in zip(keys, vectors, prints, strict=True))
    order = random.permutation(1200)
    got, thumbs = cache.get([keys[i] for i in order])
    np.testing.assert_array_equal(got, vectors[order])
    np.testing.assert_array_equal(thumbs, prints[order])
    cache.put([Embedded(keys[0], vectors[1], prints[1])])  # another worker's: the first stays
    np.testing.assert_array_equal(cache.get(keys[:1])[0][0], vectors[0])


def test_an_offered_embedding_is_a_vector_that_waits_for_its_fingerprint(engine):
    cache, print_ = EmbeddingCache(engine, "b"), np.arange(256, dtype=np.uint8)
    cache.put([Embedded(sha("a"), np.ones(4, np.float32), print_)])
    cache.offer({sha(n): np.full(4, 2, np.float32) for n in "ab"})
    assert cache.missing([sha("a"), sha("b"), sha("c")]) == [sha("b"), sha("c")]
    assert {key: v[0] for key, v in cache.vectors([sha(n) for n in "abc"]).items()} == {sha("a"): 1, sha("b"): 2}
    assert cache.find(sha("b"))[0] == 2 and cache.find(sha("c")) is None
    with pytest.raises(CorruptArtifact):
        cache.get([sha("b")])
    cache.put([Embedded(sha(n), np.full(4, 3, np.float32), print_) for n in "abc"])
    vectors, prints = cache.get([sha(n) for n in "abc"])
    assert vectors[:, 0].tolist() == [1, 3, 3] and (prints == print_).all()


def test_of_embeddings_the_first_numbers_can_be_had(engine):
    """What a head does not read is not loaded; on both databases a blob is cut by its bytes."""
    cache, vector = EmbeddingCache(engine, "b" * 64), np.arange(6, dtype=np.float32)
    cache.put([Embedded("a" * 64, vector, np.ones(256, np.uint8))])
    np.testing.assert_array_equal(cache.get(["a" * 64], 4)[0], [vector[:4]])
    np.testing.assert_array_equal(cache.get(["a" * 64])[0], [vector])


def test_embeddings_of_one_backbone_are_not_those_of_another(engine):
    EmbeddingCache(engine, "one").put([Embedded(sha("a"), np.ones(4, np.float32), np.zeros(256, np.uint8))])
    other = EmbeddingCache(engine, "two")
    assert other.missing([sha("a"), sha("a")]) == [sha("a")]
    with pytest.raises(CorruptArtifact, match=sha("a")):
        other.get([sha("a")])


def test_views_of_one_image_are_kept_apart_and_freed_together(engine):
    centre = EmbeddingCache(engine, "b")
    flipped = centre.of("flip")
    centre.put([Embedded(sha("a"), np.ones(4, np.float32), np.zeros(256, np.uint8))])
    assert flipped.missing([sha("a")]) == [sha("a")]
    flipped.put([Embedded(sha("a"), np.zeros(4, np.float32), np.zeros(256, np.uint8))])
    assert [cache.get([sha("a")])[0].tolist() for cache in (centre, flipped)] == [[[1.0] * 4], [[0.0] * 4]]
    publish(engine, "cats", "a")
    heads.delete(engine, "cats")
    assert centre.missing([sha("a")]) == flipped.missing([sha("a")]) == [sha("a")]


def test_a_backbone_in_use_is_neither_replaced_nor_removed(engine):
    preprocessing = Preprocessing(224, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
    backbone = Backbone("b", sha("backbone"), sha("file"), preprocessing, "fp32", 4, 4, {"licence": "MIT"})
    backbones.save(engine, backbone)
    assert backbones.find(engine, "b") == backbones.find_digest(engine, sha("backbone")) == backbone
    publish(engine)
    changed = Backbone("b", sha("other"), sha("file"), preprocessing, "fp32", 4, 4)
    for act in (lambda: backbones.save(engine, changed), lambda: backbones.remove(engine, "b")):
        with pytest.raises(Conflict):
            act()
    heads.delete(engine, "cats")
    backbones.save(engine, changed)
    assert backbones.remove(engine, "b") == changed and backbones.list_all(engine) == []


@pytest.fixture(params=["folder", "memory"])
def artifacts(request: pytest.FixtureRequest, tmp_path: Path) -> Artifacts:
    """A store of each kind that needs no network."""
    return Artifacts(str(tmp_path / "artifacts") if request.param == "folder" else "memory:///")


def test_a_blob_is_known_by_its_sha256_and_storing_it_twice_is_free(artifacts):
    digest = artifacts.put(b"bytes")
    assert digest == hashlib.sha256(b"bytes").hexdigest() == artifacts.put(memoryview(b"bytes"))
    assert artifacts.has(digest) and artifacts.get(digest) == b"bytes"


def test_a_blob_that_is_missing_is_corrupt_and_deleting_it_is_no_error(artifacts):
    digest = artifacts.put(b"")
    artifacts.delete([digest, digest, sha("never")])
    assert not artifacts.has(digest)
    with pytest.raises(CorruptArtifact, match="not in the store"):
        artifacts.get(digest)


def test_an_altered_blob_is_never_given_out(tmp_path):
    artifacts = Artifacts(str(tmp_path))
    digest = artifacts.put(b"bytes")
    (tmp_path / "blobs" / digest[:2] / digest).write_bytes(b"bytez")
    with pytest.raises(CorruptArtifact, match="altered"):
        artifacts.get(digest)
