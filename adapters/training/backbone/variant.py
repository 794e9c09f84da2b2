"""A backbone in another precision: convert → compare with fp32 on held-out images → gate → digest → store."""

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
from sqlalchemy.engine import Engine

from adapters import modalities
from adapters.backbones.cards import variant_name
from adapters.backbones.facts import digest
from adapters.errors import InvalidInput, ParityError
from adapters.modalities.image import NAME, Pixels
from adapters.modalities.image.calibration import CalibrationImages
from adapters.runtime.backbone import BackboneSession
from adapters.store import backbones
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import cuts, observing, precisions
from adapters.types import Backbone, Embeddings


def build(
    source: Backbone,
    precision: str,
    images: CalibrationImages,
    engine: Engine,
    artifacts: Artifacts,
    *,
    name: str | None = None,
    force: bool = False,
) -> Backbone:
    """Make a variant of a backbone usable: a backbone of its own, with its own digest and its own heads.

    Raises InvalidInput when the source is a variant itself or reads what has none, ParityError when its embeddings are
    too far from the source's (unless forced).
    """
    modalities.calibration(source.modality)
    if source.precision != "fp32":
        raise InvalidInput(f"{source.name!r} is {source.precision} already; convert the fp32 one", item=source.name)
    kind, original = precisions.get(precision), backbones.stored(artifacts, source)
    graph = kind.convert(original, images.calibrated)
    variant = _facts(source, precision, name or variant_name(source.name, precision), graph)
    found = _compare(BackboneSession(source, original), BackboneSession(variant, graph), images.held_out)
    floor = {"least_mean": kind.LEAST_MEAN, "least_worst": kind.LEAST_WORST}
    if not force:
        _gate(variant, found, floor)
    report = found | floor | {"forced": force, "calibrated_on": len(images.calibrated), "images": images.source}
    variant = replace(variant, details=variant.details | {"parity": report})
    backbones.add(engine, artifacts, variant, graph)
    return variant


def _facts(source: Backbone, precision: str, name: str, graph: bytes) -> Backbone:
    artifact = hashlib.sha256(graph).hexdigest()
    origin = {"variant_of": {"name": source.name, "digest": source.digest}}
    details = source.details | origin | cuts.record(graph, observing.of(source))
    return replace(
        source, name=name, precision=precision, artifact=artifact, details=details,
        digest=digest(artifact, source.spec, precision, source.modality),
    )  # fmt: skip


def _compare(source: BackboneSession, variant: BackboneSession, pixels: Pixels) -> dict[str, Any]:
    """Cosine of `pooled`, image by image, and of what is told of earlier blocks, where that is anything.

    Raises ParityError where the outputs differ in kind.
    """
    wanted, got = (np.concatenate([s.embed({NAME: picture[None]}) for picture in pixels]) for s in (source, variant))
    if got.shape != wanted.shape or got.dtype != wanted.dtype or not np.isfinite(got).all():
        raise ParityError(f"the variant answers {got.dtype} {got.shape[1:]}, or not with numbers")
    length = source.backbone.dimension
    pooled, taps = (_cosines(wanted[:, part], got[:, part]) for part in (slice(length), slice(length, None)))
    of_taps = {"taps_cosine_mean": float(taps.mean())} if source.backbone.taps else {}
    return {
        "cosine_mean": float(pooled.mean()), "cosine_worst": float(pooled.min()), "held_out": len(pooled),
    } | of_taps  # fmt: skip


def _cosines(a: Embeddings, b: Embeddings) -> Any:
    """Of the rows of [N, D] each → f64 [N]."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    return (x * y).sum(axis=1) / np.maximum(np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1), 1e-12)


def _gate(variant: Backbone, found: dict[str, Any], floor: dict[str, float]) -> None:
    mean, worst = found["cosine_mean"], found["cosine_worst"]
    if mean >= floor["least_mean"] and worst >= floor["least_worst"]:
        return
    raise ParityError(
        f"{variant.precision} moves the embeddings of {variant.details['variant_of']['name']!r} too far: on "
        f"{found['held_out']} held-out images the cosine with fp32 is {mean:.4f} on average (at least "
        f"{floor['least_mean']} is asked for) and {worst:.4f} at worst (at least {floor['least_worst']}), so heads "
        "would see less than on fp32; calibrate on images like yours, or force it",
        item=variant.name,
    )
