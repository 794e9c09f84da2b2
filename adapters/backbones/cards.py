"""Cards: what is known of a backbone before it is built. A TOML file in this folder is an embedded one, by its name."""

import tomllib
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from adapters.errors import BackboneNotFound, InvalidInput
from adapters.types import ORIGINAL

DEFAULT = "tf_efficientnet_lite0"
PREPROCESSING_OPTIONS = ("size", "crop_pct", "interpolation", "mean", "std")


@dataclass(frozen=True, slots=True)
class Card:
    """How to build one backbone: by timm from a model's name, or by onnx from an encoder's file; and its weights."""

    name: str
    timm_name: str = ""
    builder: str = "timm"  # or "onnx"
    modality: str = ORIGINAL
    spec: dict[str, Any] = field(default_factory=dict)  # of the modality, where the builder is not timm
    weights: str | None = None  # a .safetensors or .pth file, "package:…", "random", or None: the hub through timm
    weights_sha256: str | None = None
    layout: str = "timm"  # how the weights file names its tensors
    preprocessing: dict[str, Any] = field(default_factory=dict)  # overrides of timm's data config
    model_options: dict[str, Any] = field(default_factory=dict)  # passed to timm.create_model
    source: str = ""
    licence: str = ""


def embedded() -> list[str]:
    """Names of the cards that come with Espalier."""
    files = resources.files("adapters.backbones").iterdir()
    return sorted(f.name.removesuffix(".toml") for f in files if f.name.endswith(".toml"))


def of_other_modalities() -> list[str]:
    """Names of the embedded cards for anything but images: each is the default of what it reads."""
    return [name for name in embedded() if embedded_card(name).modality != ORIGINAL]


def embedded_card(name: str) -> Card:
    """The card of an embedded backbone. Raises BackboneNotFound."""
    path = resources.files("adapters.backbones") / f"{name}.toml"
    if not path.is_file():
        raise BackboneNotFound(f"no embedded backbone is called {name!r}; there are: {', '.join(embedded())}")
    return Card(name=name, **tomllib.loads(path.read_text()))


def variant_name(name: str, precision: str) -> str:
    """What the backbone of that name is called in another precision, unless its maker says otherwise."""
    return f"{name}-{precision}"


def card_from_options(name: str, timm_name: str, weights: str | None, options: dict[str, str]) -> Card:
    """A card for any timm model; `option=value` pairs go to the preprocessing or to timm.create_model."""
    values = {key: _value(key, text) for key, text in options.items()}
    preprocessing = {k: v for k, v in values.items() if k in PREPROCESSING_OPTIONS}
    model_options = {k: v for k, v in values.items() if k not in PREPROCESSING_OPTIONS}
    for key in ("mean", "std"):
        if isinstance(preprocessing.get(key), float | int):
            preprocessing[key] = [float(preprocessing[key])] * _count(model_options.get("in_chans", 3))
    return Card(name, timm_name, weights=weights, preprocessing=preprocessing, model_options=model_options)


def _count(channels: Any) -> int:
    """That many, where it is a number: which ones there may be is for the loader to say."""
    return channels if type(channels) is int and channels > 0 else 3


def _value(key: str, text: str) -> Any:
    """A command-line value as TOML would read it: 0.5, true, [1, 2] or plain text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        if "=" in text:
            raise InvalidInput(f"option {key!r} has a value with '=' in it", item=key) from None
        return text
