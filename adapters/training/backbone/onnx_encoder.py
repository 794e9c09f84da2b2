"""Building a backbone of an encoder that comes as ONNX: check the file → pool → prove → digest → store.

What is proven, under the session that serves: the graph pools as numpy does what the encoder itself answers; and a
text answers alike alone, and padded to the longest bucket among others.
"""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.engine import Engine

from adapters import modalities
from adapters.backbones import loader
from adapters.backbones.cards import Card
from adapters.backbones.facts import digest
from adapters.errors import InvalidInput, ParityError
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.onnx import session
from adapters.store import backbones
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import cuts, observing
from adapters.training.backbone.pooling import TYPES, with_pooling
from adapters.types import Backbone, Embeddings, Tensors

TOLERANCE = 1e-4  # of values of a vector of length 1. Measured of all-MiniLM-L6-v2: 2e-7 pooled, 5e-7 padded
TRIALS = 12  # made-up inputs, the shortest and the longest among them
PRECISION = "fp32"  # of what is computed, whatever the weights are kept in


def build(card: Card, engine: Engine, artifacts: Artifacts) -> Backbone:
    """Make a backbone usable under the card's name.

    Raises InvalidInput for a file that is not the card's or no encoder, ParityError when the graph answers differently.
    """
    modality = modalities.get(card.modality)
    spec = modality.Spec(**card.spec)
    encoder = _file(card)
    graph = with_pooling(encoder, modality.inputs(spec))
    draft = _facts(card, spec, graph)
    served = BackboneSession(draft, graph, "cpu")
    parity, dimension = _prove(encoder, served)
    told = {"parity": parity} | cuts.record(graph, observing.of(draft))
    backbone = replace(draft, dimension=dimension, details=draft.details | told)
    backbones.add(engine, artifacts, backbone, graph)
    return backbone


def _file(card: Card) -> bytes:
    path = Path(loader.locate(str(card.weights)))
    if not path.is_file():
        raise InvalidInput(f"there is no encoder {path}", item=str(path))
    data = path.read_bytes()
    if hashlib.sha256(data).hexdigest() != card.weights_sha256:
        raise InvalidInput(f"{path.name} is not the file that the card names (SHA-256 differs)", item=path.name)
    return data


def _facts(card: Card, spec: Any, graph: bytes) -> Backbone:
    artifact = hashlib.sha256(graph).hexdigest()
    details = {
        "source": card.source, "licence": card.licence, "weights_sha256": card.weights_sha256,
        "pooling": "mean, length 1",
    }  # fmt: skip
    identity = digest(artifact, spec, PRECISION, card.modality)
    return Backbone(card.name, identity, artifact, spec, PRECISION, 0, 0, details, card.modality)


def _prove(encoder: bytes, served: BackboneSession) -> tuple[dict[str, float], int]:
    """Figures of parity, and the width of the embedding."""
    modality, spec = modalities.of(served.backbone), served.backbone.spec
    trial = modality.trial(spec, TRIALS)
    alone = np.concatenate([served.plain(modality.collate([each], spec)) for each in trial])  # [12, D]
    together = served.plain(modality.collate(trial, spec, pad=True))
    parity = {
        "pooled_difference": _worst(_by_hand(encoder, trial), alone),
        "padded_difference": _worst(alone, together),
    }
    if max(parity.values()) > TOLERANCE:
        raise ParityError(f"the pooled graph differs from its encoder by {parity}; at most {TOLERANCE}")
    return parity, alone.shape[1]


def _by_hand(encoder: bytes, trial: list[Tensors]) -> Embeddings:
    """What numpy makes of the encoder's own answers, one text at a time: f32 [N, D]."""
    original = session.create(encoder)
    wanted = {each.name for each in original.get_inputs()}
    rows = []
    for each in trial:
        ids = next(iter(each.values()))
        given = {name: tensor[np.newaxis] for name, tensor in ({TYPES: np.zeros_like(ids)} | dict(each)).items()}
        (hidden,) = original.run(None, {name: given[name] for name in wanted})
        mean = hidden[0].mean(axis=0)
        rows.append(mean / np.linalg.norm(mean))
    return np.array(rows, np.float32)


def _worst(one: Embeddings, other: Embeddings) -> float:
    """The largest difference of any value; infinite where there are others than numbers, or of other shapes."""
    if one.shape != other.shape or not (np.isfinite(one).all() and np.isfinite(other).all()):
        return float("inf")
    return float(np.abs(one - other).max())
