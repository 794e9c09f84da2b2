"""Facts of a backbone as JSON, and the digest that names it.

Images were first: theirs say `preprocessing` and no modality, as all that was stored then, so that no digest moves.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from adapters import modalities
from adapters.types import ORIGINAL, Backbone


def to_json(backbone: Backbone) -> dict[str, Any]:
    """Ready for JSON; `from_json` gives the same backbone back."""
    return {
        "name": backbone.name, "digest": backbone.digest, "artifact": backbone.artifact,
        **spec_to_json(backbone.spec, backbone.modality),
        "precision": backbone.precision, "dimension": backbone.dimension, "channels": backbone.channels,
        "details": backbone.details,
    }  # fmt: skip


def from_json(facts: Mapping[str, Any]) -> Backbone:
    """Raises InvalidInput where the modality is not known here."""
    modality = modality_of(facts)
    spec = facts["preprocessing" if modality == ORIGINAL else "spec"]
    rest = {key: value for key, value in facts.items() if key not in ("preprocessing", "spec", "modality")}
    return Backbone(**rest, spec=spec_from_json(spec, modality), modality=modality)


def modality_of(facts: Mapping[str, Any]) -> str:
    """The modality of a backbone by its facts, or by what a manifest says of it."""
    return str(facts.get("modality", ORIGINAL))


def told(modality: str) -> dict[str, str]:
    """What a manifest says of a modality: nothing of the one that needs no saying."""
    return {} if modality == ORIGINAL else {"modality": modality}


def spec_to_json(spec: Any, modality: str) -> dict[str, Any]:
    """The facts that say how bytes become tensors."""
    return {"preprocessing": asdict(spec)} if modality == ORIGINAL else {"modality": modality, "spec": asdict(spec)}


def spec_from_json(spec: Mapping[str, Any], modality: str) -> Any:
    """The modality's `Spec`; lists come back as tuples."""
    return modalities.get(modality).Spec(**{key: _tupled(value) for key, value in spec.items()})


def digest(artifact: str, spec: Any, precision: str, modality: str = ORIGINAL) -> str:
    """Everything that decides what an input's embedding is: graph with weights, spec, precision."""
    facts = {"artifact": artifact, **spec_to_json(spec, modality), "precision": precision}
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _tupled(value: Any) -> Any:
    return tuple(map(_tupled, value)) if isinstance(value, list) else value
