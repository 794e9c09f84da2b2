"""What all peers serve: heads of one matrix and softmax on one backbone, as torch weights and as whole ONNX graphs."""

import functools
import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
from onnx import compose

from adapters.backbones import loader
from adapters.backbones.cards import DEFAULT, embedded_card
from adapters.types import Floats
from benchmarks import photos, synthetic

CLASSES = tuple(f"class-{k}" for k in range(10))
SPREAD = 0.05  # of the weights: probabilities are then neither all alike nor all 0 and 1


def name(number: int) -> str:
    """What head `number` is called everywhere."""
    return f"head-{number}"


def write(home: Path, precision: str, folder: Path, count: int) -> None:
    """Publish `count` heads in a home prepared in a precision, and write the same ones to `folder` for the peers."""
    store = synthetic.Store.of(home, precision=precision)
    weights = {name(n): _weights(n, store.backbone.dimension) for n in range(count)}
    made = [synthetic.linear(store.backbone, head, w, b, CLASSES) for head, (w, b) in weights.items()]
    synthetic.publish(store, made)
    folder.mkdir()
    _write_torch(folder, weights)
    backbone = onnx.load_from_string(store.artifacts.get(store.backbone.artifact))
    (folder / "backbone.onnx").write_bytes(backbone.SerializeToString())
    for head in made:
        (folder / f"{head.name}.head.onnx").write_bytes(head.graph)
        (folder / f"{head.name}.onnx").write_bytes(_whole(backbone, onnx.load_from_string(head.graph)))
    facts = asdict(store.backbone.spec) | {"timm_name": embedded_card(DEFAULT).timm_name}
    (folder / "facts.json").write_text(json.dumps(facts | {"classes": CLASSES, "heads": list(weights)}))


def _weights(number: int, dimension: int) -> tuple[Floats, Floats]:
    """Weight f32 [D, K], bias f32 [K]."""
    generator = np.random.default_rng(number)
    weight = generator.normal(0, SPREAD, (dimension, len(CLASSES))).astype(np.float32)
    return weight, generator.normal(0, SPREAD, len(CLASSES)).astype(np.float32)


def _write_torch(folder: Path, weights: dict[str, tuple[Floats, Floats]]) -> None:
    """The backbone's state once, and each head's classifier: together the state of one timm model."""
    import torch
    from safetensors.torch import save_file

    model, _ = loader.load(embedded_card(DEFAULT))
    state = {k: v.contiguous() for k, v in model.state_dict().items() if not k.startswith("classifier.")}
    save_file(state, folder / "backbone.safetensors")
    for head, (weight, bias) in weights.items():
        classifier = {"classifier.weight": weight.T.copy(), "classifier.bias": bias}
        save_file({k: torch.from_numpy(v) for k, v in classifier.items()}, folder / f"{head}.safetensors")


def _whole(backbone: onnx.ModelProto, head: onnx.ModelProto) -> bytes:
    """Backbone and head as one graph, uint8 pixels in and probabilities out: what a model is to those without heads."""
    head.ir_version = backbone.ir_version
    joined = [("pooled", "head.embedding")]
    whole = compose.merge_models(backbone, compose.add_prefix(head, "head."), joined, outputs=["head.probabilities"])
    return whole.SerializeToString()


@functools.cache
def photo() -> bytes:
    """The photo that all must agree on."""
    return photos.crops(1)[0][0]
