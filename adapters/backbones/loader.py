"""Weights → a timm model in evaluation mode. Never unpickles: safetensors, or `torch.load(weights_only=True)`."""

import hashlib
import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.backbones.cards import Card
from adapters.errors import InvalidInput
from adapters.modalities.image.spec import MODES, Preprocessing

if TYPE_CHECKING:
    import torch


def load(card: Card) -> "tuple[torch.nn.Module, Preprocessing]":
    """Build the timm model of a card and fill in its weights.

    Raises InvalidInput when timm does not know the model, when the weights do not fit or are not the ones on the card,
    and for channels that no image has.
    """
    channels(card.model_options)
    model = _create(card)
    if card.weights not in (None, "random"):
        tensors = _tensors(Path(locate(str(card.weights))), card)
        _fill(model, _adapted(model, tensors, channels(card.model_options)), card)
    return model.eval(), _preprocessing(model, card)


def _create(card: Card) -> "torch.nn.Module":
    import timm
    import torch

    torch.manual_seed(0)  # "random" weights must give the same digest every time
    try:
        return timm.create_model(card.timm_name, pretrained=card.weights is None, **card.model_options)
    except Exception as error:
        hint = "" if card.weights else "; offline, pass --weights FILE"
        raise InvalidInput(f"timm could not create {card.timm_name!r}: {error}{hint}", item=card.timm_name) from error


def channels(model_options: dict[str, Any]) -> int:
    """How many a backbone of such options reads: timm's `in_chans`. Raises InvalidInput for what no image has."""
    found = model_options.get("in_chans", 3)
    if type(found) is not int or found not in MODES:  # JSON's true is Python's 1
        message = f"in_chans={found} is no number of channels that images have: 1 (grey), 3 (RGB) or 4 (RGBA)"
        raise InvalidInput(message, item="in_chans")
    return found


def locate(weights: str) -> str:
    """`package:module/path` → a file inside an installed package; anything else is a path already."""
    if not weights.startswith("package:"):
        return weights
    module, _, rest = weights.removeprefix("package:").partition("/")
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInput(f"the package {module!r} that holds the weights is not installed", item=module)
    return str(Path(next(iter(spec.submodule_search_locations))) / rest)


def _tensors(path: Path, card: Card) -> "dict[str, torch.Tensor]":
    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        raise InvalidInput(f"there is no weights file {path}", item=str(path))
    if card.weights_sha256 and hashlib.sha256(path.read_bytes()).hexdigest() != card.weights_sha256:
        raise InvalidInput(f"{path.name} is not the file that the card names (SHA-256 differs)", item=path.name)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded: Any = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:
        raise InvalidInput(f"{path.name} holds more than tensors, or is damaged: {error}", item=path.name) from error
    tensors = loaded.get("state_dict", loaded)
    return _from_lukemelas(tensors) if card.layout == "lukemelas" else tensors


def _adapted(model: Any, tensors: "dict[str, torch.Tensor]", channels: int) -> "dict[str, torch.Tensor]":
    """First layers of as many channels as the model reads, made as timm makes them of those of three.

    Others are left as they are, for `_fill` to say whether they fit.
    """
    from timm.models import adapt_input_conv

    names = model.default_cfg.get("first_conv") or ()
    first = {f"{name}.weight" for name in ((names,) if isinstance(names, str) else names)}
    of_three = {key for key in first & tensors.keys() if tensors[key].ndim == 4 and tensors[key].shape[1] == 3}
    return tensors | {key: adapt_input_conv(channels, tensors[key]) for key in of_three if channels != 3}


def _fill(model: "torch.nn.Module", tensors: "dict[str, torch.Tensor]", card: Card) -> None:
    """Load the tensors, strictly, except for the classifier: a backbone ends before it."""
    classifier = _classifier_names(model)
    expected = {k: v for k, v in model.state_dict().items() if k.rsplit(".", 1)[0] not in classifier}
    given = {k: v for k, v in tensors.items() if k.rsplit(".", 1)[0] not in classifier}
    missing, unexpected = sorted(expected.keys() - given.keys()), sorted(given.keys() - expected.keys())
    misshapen = sorted(k for k in expected.keys() & given.keys() if expected[k].shape != given[k].shape)
    if missing or unexpected or misshapen:
        raise InvalidInput(
            f"the weights do not fit {card.timm_name}: missing {missing[:3]}, unexpected {unexpected[:3]}, "
            f"of another shape {misshapen[:3]}",
            item=str(card.weights),
        )
    model.load_state_dict(given, strict=False)


def _classifier_names(model: Any) -> tuple[str, ...]:
    names = model.default_cfg.get("classifier") or ()
    return (names,) if isinstance(names, str) else tuple(names)


def _preprocessing(model: "torch.nn.Module", card: Card) -> Preprocessing:
    """timm's own data config of the model, with the card's overrides."""
    from timm.data import resolve_model_data_config

    config = resolve_model_data_config(model)
    size = int(config["input_size"][-1])
    facts: dict[str, Any] = {"size": size} | {k: config[k] for k in ("crop_pct", "interpolation", "mean", "std")}
    facts |= card.preprocessing
    facts |= {key: _of_channels(key, facts[key], channels(card.model_options)) for key in ("mean", "std")}
    if facts["interpolation"] not in ("bilinear", "bicubic", "lanczos", "nearest"):
        facts["interpolation"] = "bicubic"  # timm's "random": any will do
    return Preprocessing(**facts)


def _of_channels(key: str, values: Any, channels: int) -> tuple[float, ...]:
    """As many as channels: of three for one the mean, as the first layer's weights are summed; for four the first
    again, as timm repeats them. Raises InvalidInput for any other number.
    """
    given = tuple(map(float, values))
    if len(given) == 3 and channels == 1:
        return (sum(given) / 3,)
    if len(given) == 3 and channels == 4:
        return (*given, given[0])
    if len(given) != channels:
        raise InvalidInput(f"{key} has {len(given)} numbers, and the backbone reads {channels} channels", item=key)
    return given


def _from_lukemelas(tensors: "dict[str, torch.Tensor]") -> "dict[str, torch.Tensor]":
    """Names of lukemelas/EfficientNet-PyTorch → timm's, one to one."""
    stages = _lite0_stages()
    return {_timm_name(key, stages): value for key, value in tensors.items()}


def _lite0_stages() -> list[tuple[int, int]]:
    repeats = (1, 2, 2, 3, 3, 4, 1)  # blocks a stage of EfficientNet-Lite0
    return [(stage, block) for stage, count in enumerate(repeats) for block in range(count)]


def _timm_name(key: str, stages: list[tuple[int, int]]) -> str:
    stem = {
        "_conv_stem": "conv_stem",
        "_bn0": "bn1",
        "_conv_head": "conv_head",
        "_bn1": "bn2",
        "_fc": "classifier",
    }
    match = re.fullmatch(r"_blocks\.(\d+)\.(_\w+)\.(\w+)", key)
    if not match:
        first, rest = key.split(".", 1)
        return f"{stem[first]}.{rest}"
    number, layer, rest = int(match[1]), match[2], match[3]
    stage, block = stages[number]
    return f"blocks.{stage}.{block}.{_block_layer(layer, expanded=number > 0)}.{rest}"


def _block_layer(layer: str, *, expanded: bool) -> str:
    # Block 0 has no expansion, so its first normalisation follows the depthwise convolution.
    if expanded:
        names = {"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"}
        return (names | {"_project_conv": "conv_pwl", "_bn2": "bn3"})[layer]
    return {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}[layer]
