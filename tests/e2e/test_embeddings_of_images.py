"""Embeddings over HTTP, and the parts of them that heads read."""

import json

import numpy as np
import pytest
from support import downloaded
from support.pictures import shape, shapes
from support.teaching import KINDS, taught

from service.client import ApiError


def test_embed_gives_the_numbers_that_heads_are_trained_on(server, shared):
    """The downloaded graph, run on /embed's embeddings by onnxruntime alone, gives /predict's scores."""
    head, _ = shared
    images = [shape(kind, 61) for kind in KINDS]
    graph, embeddings = server.client.graph(head, 1), downloaded.embedded(server, images)
    labels = json.loads(downloaded.opened(graph).get_modelmeta().custom_metadata_map["labels"])
    scores, told = (downloaded.asked(graph, embeddings, output) for output in ("probabilities", "novelty"))
    novelties = [p["novelty"] for p in server.client.predict([head], images)["predictions"]]
    np.testing.assert_allclose(told, novelties, atol=1e-4)
    for row, answer in zip(scores, server.client.predict([head], images)["predictions"], strict=True):
        assert {t["label"]: pytest.approx(t["score"], abs=1e-5) for t in answer["top"]} == dict(
            zip(labels, row.tolist(), strict=True)
        )


def test_embed_gives_the_last_layer_and_on_request_earlier_blocks_behind_it(server):
    images = [shape(kind, 62) for kind in KINDS]
    plain, full = server.client.embed(images), server.client.embed(images, taps=True)
    assert plain["backbone"] == "tf_efficientnet_lite0" and plain["dimension"] == full["dimension"] == 1280
    assert np.shape(plain["embeddings"]) == (3, 1280) and plain["indices"] == [0, 1, 2] and plain["taps"] == []
    np.testing.assert_array_equal(np.array(full["embeddings"])[:, :1280], plain["embeddings"])
    ends = [tap["offset"] + tap["length"] for tap in full["taps"]]
    assert [tap["offset"] for tap in full["taps"]] == [1280, *ends[:-1]] and np.shape(full["embeddings"])[1] == ends[-1]
    with pytest.raises(ApiError, match="'taps' must be true or false, not 'all'"):
        server.client.embed(images, taps="all")


@pytest.mark.parametrize(("reads", "length"), [("pooled", 1280), ("taps", 3464)])
def test_a_head_reads_what_was_asked_for(server, reads, length):
    """The version, its graph and the race say so, and it answers as its graph does."""
    head, job = taught(server, f"reads-{reads}", shapes(), reads=reads)
    manifest, graph = server.client.manifest(head, 1), server.client.graph(head, 1)
    assert (manifest["reads"], manifest["inputs"]["embedding"]) == (reads, ["batch", length])
    assert {row["reads"] for row in job["report"]["race"]} == {reads}
    said = downloaded.opened(graph).get_modelmeta().custom_metadata_map["espalier.reads"]
    assert said == f"{reads}: the first {length} of 3464 numbers"
    image = shape("circle", 63)
    (answer,) = server.client.predict([head], [image])["predictions"]
    scores = downloaded.asked(graph, downloaded.embedded(server, [image]))
    assert answer["score"] == pytest.approx(scores.max(), abs=1e-5)


def test_heads_that_read_different_parts_share_a_pass(server):
    """Asked together or one by one they say the same."""
    heads = [taught(server, f"part-{reads}", shapes(), reads=reads)[0] for reads in ("pooled", "taps")]
    images = [shape(kind, 64) for kind in KINDS]
    together = server.client.predict(heads, images)["predictions"]
    apart = [server.client.predict([head], images)["predictions"] for head in heads]
    assert together == [answer for pair in zip(*apart, strict=True) for answer in pair]
