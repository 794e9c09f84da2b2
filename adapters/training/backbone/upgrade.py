"""A backbone of an older installation → one with taps beside it. The old one and its heads stay as they are.

Taps are found in the exported graph, so weights are not needed again, and `pooled` is the same bit for bit.
"""

import hashlib
from dataclasses import replace

from sqlalchemy.engine import Engine

from adapters import modalities
from adapters.backbones.cards import variant_name
from adapters.backbones.facts import digest
from adapters.errors import Conflict
from adapters.store import backbones
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import cuts, observing
from adapters.training.backbone.taps.build import tapped
from adapters.types import Backbone

SUFFIX = "-taps"


def build(source: Backbone, engine: Engine, artifacts: Artifacts, name: str | None = None) -> Backbone:
    """Make a backbone with taps of one without: another digest, so heads move to it by being rebuilt.

    Raises InvalidInput of a backbone that reads no images, Conflict where there is nothing to add, ParityError where
    the graph would answer otherwise.
    """
    modalities.calibration(source.modality)  # of what else it reads no taps are known
    if source.taps:
        raise Conflict(f"the backbone {source.name!r} has taps already", item=source.name)
    graph, taps = tapped(backbones.stored(artifacts, source), source.spec.size)
    if not taps:
        raise Conflict(f"no block of {source.name!r} ends where something can be read", item=source.name)
    artifact = hashlib.sha256(graph).hexdigest()
    made = replace(
        source, name=name or upgraded_name(source), artifact=artifact,
        digest=digest(artifact, source.spec, source.precision, source.modality),
        details=source.details
        | {"taps": taps, "upgraded_from": {"name": source.name, "digest": source.digest}}
        | cuts.record(graph, observing.of(source)),
    )  # fmt: skip
    backbones.add(engine, artifacts, made, graph)
    return made


def upgraded_name(source: Backbone) -> str:
    """`NAME-taps`, and of a variant `NAME-taps-int8`: as its precision is told everywhere else."""
    original = source.details.get("variant_of", {}).get("name")
    return f"{source.name}{SUFFIX}" if original is None else variant_name(f"{original}{SUFFIX}", source.precision)
