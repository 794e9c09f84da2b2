"""Deep versions in which the shallow head has a say, over HTTP: they read the backbone's embedding beside their tap."""

import io
import json
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from support.pictures import shape, shapes
from support.services import Service, eventually
from support.teaching import KINDS, taught, unique

from service.client import ApiError

ASKED = [shape(kind, 700) for kind in KINDS]
QUICK = {"unfreeze": "blocks.5", "epochs": 1, "mix": 1, "ensemble": 0.5}


@pytest.fixture(scope="module")
def both(server: Service) -> str:
    """A head whose version is deep, with the shallow one weighing as much."""
    head, job = taught(server, "both", method="deep", hyperparameters=json.dumps(QUICK), views="none")
    assert job["status"] == "succeeded" and job["deep"]["stage"] == "deep"
    return head


def said(server: Service, heads: list[str], **options: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = server.client.predict(heads, ASKED, **options)["predictions"]
    return found


def test_it_says_what_it_reads(server, both):
    manifest, report = server.client.manifest(both, 1), server.client.report(both)
    assert manifest["hyperparameters"]["ensemble"] == 0.5 and manifest["reads"] == "tap"
    assert manifest["inputs"]["embedding"] == ["batch", manifest["deep"]["beside"]]
    assert manifest["inputs"]["tap"][1:] == manifest["deep"]["cut"]["shape"]
    assert report["parity"]["max_difference"] <= 1e-4
    assert "shallow head" in server.client.report_page(both)


def test_it_answers_alone_as_beside_others(server, both):
    """Shallow ones share the pass that tells it the embedding, deep ones that of the tap."""
    shallow, _ = taught(server, "beside")
    deep, _ = taught(server, "tail", method="deep", hyperparameters=json.dumps(QUICK | {"ensemble": 0}), views="none")
    alone = {head: said(server, [head], coverage=0.9) for head in (both, shallow, deep)}
    assert [answer["label"] for answer in alone[both]] == list(KINDS)
    together = said(server, [both, shallow, deep], coverage=0.9)
    for head, wanted in alone.items():
        assert [answer for answer in together if answer["head"] == head] == wanted


def test_its_graphs_give_the_same_without_espalier(server, both):
    """`trunk.onnx` tells what `head.onnx` reads, by name."""
    trunk, head = (
        onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        for graph in (server.client.trunk(both, 1), server.client.graph(both, 1))
    )
    size = trunk.get_inputs()[0].shape[1]
    labels = json.loads(head.get_modelmeta().custom_metadata_map["labels"])
    for answer, image in zip(said(server, [both]), ASKED, strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(image)).convert("RGB").resize((size, size), Image.Resampling.BICUBIC))
        told = dict(zip([o.name for o in trunk.get_outputs()], trunk.run(None, {"pixels": pixels[None]}), strict=True))
        given = {each.name: told[each.name][:, : each.shape[1]] for each in head.get_inputs() if each.name != "tap"}
        (probabilities,) = head.run(["probabilities"], {"tap": told["tap"], **given})
        assert labels[int(probabilities.argmax())] == answer["label"]
        assert probabilities.max() == pytest.approx(answer["score"], abs=0.05)  # decoded by another library


def test_its_owner_looks_after_it_as_after_others(server, both):
    """A corrected label, a comparison of two versions, and what to label next."""
    example = next(iter(server.client.examples(both)))
    other = next(kind for kind in KINDS if kind != example["label"])
    job = server.client.wait(server.client.relabel(both, {example["sha256"]: other})["id"])
    assert job["status"] == "succeeded" and job["deep"]["stage"] == "deep", job["error"]
    assert server.client.compare(both, 1, job["version"])["examples"] == len(shapes())
    chosen = server.client.suggest(both, [shape(k, 800 + n) for n in range(3) for k in KINDS], count=2)
    assert len(chosen["suggestions"]) == 2
    renamed = server.client.wait(server.client.rename_labels(both, {"circle": "ring"})["id"])
    assert renamed["status"] == "succeeded", renamed["error"]
    assert "ring" in server.client.manifest(both, renamed["version"])["classes"]
    server.client.set_alias(both, "live", 1)


def test_it_is_tried_in_the_shadow_of_a_shallow_one(server):
    """The candidate is asked what live was, once the answer is out."""
    head, _ = taught(server, "rolled")
    asked = {"method": "deep", "hyperparameters": json.dumps(QUICK), "views": "none", "deploy": "manual"}
    job = server.client.wait(server.client.finetune(head, shapes(), **asked)["id"])
    assert job["status"] == "succeeded" and job["version"] == 2, job["error"]
    server.client.start_rollout(head, 2, mode="shadow")

    def compared() -> int:
        said(server, [head])
        return server.client.rollout(head)["counts"]["compared"]

    assert eventually(compared)
    counts = server.client.rollout(head)["counts"]
    assert counts["candidate"]["errors"] == 0
    server.client.stop_rollout(head)


def test_its_hard_inputs_are_kept(server, both):
    """Compared by what its tail makes of them."""
    server.client.set_sampling(both, True)
    strange = [noise(n) for n in range(6)]

    def kept() -> int:
        server.client.predict([both], strange)
        return len(list(server.client.samples(both)))

    assert eventually(kept, pause=0.5)
    server.client.set_sampling(both, False)


def noise(seed: int) -> bytes:
    """A picture of nothing that was taught."""
    pixels = np.random.default_rng(seed).integers(0, 256, (64, 64, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def test_examples_that_are_not_kept_leave_one_network(server):
    """What is added later goes on from it: an ensemble that is asked for is refused, and by itself there is none."""
    head, asked = unique("gone"), {"method": "deep", "views": "none", "keep_examples": "false"}
    with pytest.raises(ApiError, match="leave ensemble out, or keep the examples"):
        server.client.finetune(head, shapes(), hyperparameters=json.dumps(QUICK), **asked)
    plain = {name: value for name, value in QUICK.items() if name != "ensemble"}
    job = server.client.wait(server.client.finetune(head, shapes(), hyperparameters=json.dumps(plain), **asked)["id"])
    assert job["status"] == "succeeded", job["error"]
    assert server.client.manifest(head, 1)["hyperparameters"]["ensemble"] == 0
    more = server.client.wait(server.client.finetune(head, shapes(each=4, start=200), **asked)["id"])
    assert more["status"] in ("succeeded", "rejected"), more["error"]
