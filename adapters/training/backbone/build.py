"""Building a backbone: load (timm) → export (ONNX) → prove (ONNX Runtime against torch) → digest → store."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy.engine import Engine

from adapters.backbones import exporter, loader
from adapters.backbones.cards import Card
from adapters.backbones.facts import digest
from adapters.errors import InvalidInput, ParityError
from adapters.modalities import image
from adapters.modalities.image import Preprocessing
from adapters.runtime.backbone import BackboneSession
from adapters.store import backbones
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import cuts, observing, onnx_encoder
from adapters.training.backbone.taps.build import tapped
from adapters.types import Backbone

# Relative to the largest value of the output. Measured on the embedded backbone: 1e-6 (features reach 30).
TOLERANCE = 1e-4
BATCHES = (1, 2, 5)


def build(card: Card, engine: Engine, artifacts: Artifacts) -> Backbone:
    """Make a backbone usable under the card's name, as the card's builder does.

    Raises InvalidInput for a builder that there is not, and for a model or weights that do not fit; ParityError when
    the graph answers differently.
    """
    if card.builder not in BUILDERS:
        raise InvalidInput(f"there is no builder {card.builder!r}; there are: {', '.join(BUILDERS)}", item=card.name)
    return BUILDERS[card.builder](card, engine, artifacts)


def _of_timm(card: Card, engine: Engine, artifacts: Artifacts) -> Backbone:
    """A timm model, exported."""
    model, preprocessing = loader.load(card)
    exported = exporter.export(model, preprocessing)
    graph, taps = tapped(exported, preprocessing.size)
    draft = _facts(card, preprocessing, graph)
    session = BackboneSession(draft, graph, "cpu")
    parity, dimension, channels = _prove(model, session)
    told = {"parity": parity} | ({"taps": taps} if taps else {}) | cuts.record(graph, observing.of(draft))
    backbone = replace(draft, dimension=dimension, channels=channels, details=draft.details | told)
    backbones.add(engine, artifacts, backbone, graph)
    return backbone


def _facts(card: Card, preprocessing: Preprocessing, graph: bytes) -> Backbone:
    artifact = hashlib.sha256(graph).hexdigest()
    details = {
        "timm_name": card.timm_name, "source": card.source or card.weights or f"hub: {card.timm_name}",
        "licence": card.licence or "see the source of the weights", "opset": exporter.OPSET,
        "model_options": card.model_options,
    }  # fmt: skip
    identity = digest(artifact, preprocessing, "fp32")
    return Backbone(card.name, identity, artifact, preprocessing, "fp32", 0, 0, details)


def _prove(model: Any, session: BackboneSession) -> tuple[dict[str, float], int, int]:
    """Parity at several batch sizes under the session that serves; also the width of both outputs."""
    worst = {"pooled": 0.0, "features": 0.0}
    for count in BATCHES:
        shape = session.backbone.spec
        batch = image.collate(image.trial(shape, count), shape)
        expected = exporter.reference(model, shape, batch[image.NAME])
        answered = session.features(batch)
        for name, want, got in zip(worst, expected, answered, strict=True):
            if want.shape != got.shape or not np.isfinite(got).all():
                raise ParityError(f"{name}: the graph answers {got.shape}, torch {want.shape}, or not with numbers")
            difference = float(np.abs(want - got).max() / max(float(np.abs(want).max()), 1e-12))
            worst[name] = max(worst[name], difference)
    if max(worst.values()) > TOLERANCE:
        raise ParityError(f"the exported graph differs from torch by {worst} (relative); at most {TOLERANCE}")
    return (
        {f"{k}_relative_difference": v for k, v in worst.items()},
        int(answered[0].shape[1]),
        int(answered[1].shape[1]),
    )


BUILDERS: dict[str, Callable[[Card, Engine, Artifacts], Backbone]] = {"timm": _of_timm, "onnx": onnx_encoder.build}
