"""The wire contract of backbones and methods."""

from dataclasses import asdict
from typing import Any

from pydantic import Field

from adapters.backbones.facts import to_json
from adapters.types import Backbone
from service.wire import Wire


class BackboneView(Wire):
    """A backbone that heads can be trained on."""

    name: str
    digest: str
    precision: str
    dimension: int = Field(description="Numbers of `pooled`, the first part of an embedding.")
    length: int = Field(
        description="Numbers of an embedding, taps included: 4 bytes each, kept for each input and view."
    )
    channels: int
    modality: str = Field(description="What it reads.")
    spec: dict[str, Any] = Field(description="How bytes become what it reads.")
    preprocessing: dict[str, Any] | None = Field(None, description="Of images, the same as `spec`.")
    details: dict[str, Any]
    default: bool
    loaded: bool

    @classmethod
    def of(cls, backbone: Backbone, *, default: str, loaded: list[str]) -> "BackboneView":
        facts = to_json(backbone) | {"modality": backbone.modality, "spec": asdict(backbone.spec)}
        facts.pop("artifact")
        return cls(**facts, length=backbone.length, default=backbone.name == default, loaded=backbone.digest in loaded)


class BackboneList(Wire):
    """All backbones."""

    backbones: list[BackboneView]


class MethodView(Wire):
    """A way to train a head and the JSON schema of its hyperparameters."""

    name: str
    tasks: list[str] = Field(description="What it can be used for.")
    hyperparameters: dict[str, Any]

    @classmethod
    def of(cls, name: str, schema: dict[str, Any]) -> "MethodView":
        plain = {key: value for key, value in schema.items() if key != "x-tasks"}
        return cls(name=name, tasks=schema.get("x-tasks", []), hyperparameters=plain)


class MethodList(Wire):
    """All methods."""

    methods: list[MethodView]
