"""What a caller may set about a deep fit, under the field's names. Pydantic alone: whoever checks needs no torch.

Defaults are measured: `python -m benchmarks deep`.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.errors import InvalidHyperparameter

AUTO, ALL = "auto", "all"
Share = Annotated[float, Field(ge=0, le=0.95)]


class Hyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    unfreeze: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        AUTO,
        description="What is trained besides the head: all that comes after the block of this name "
        "(`espalier backbones show` lists them), `all`, or `auto`: the cut that answers best, cheap ones first",
    )
    schedule: Literal["together", "gradual"] = Field(
        "together",
        description="`gradual` begins with the head and unfreezes one more block with each share of the epochs, from "
        "the top (ULMFiT; fastai's freeze_to)",
    )
    optimizer: Literal["adamw", "sgd"] = Field("adamw", description="AdamW, or SGD with momentum 0.9")
    learning_rate: Annotated[float, Field(gt=0, le=10)] = Field(
        0.002, description="At its highest, of the head and the last block"
    )
    layer_decay: Literal["auto"] | Annotated[float, Field(gt=0, le=1)] = Field(
        "auto",
        description="What is left of the learning rate one block nearer to the input; `auto`: 0.5, and more where "
        "there are so many blocks that the first would stand still",
    )
    decay: Literal["one-cycle", "cosine", "constant"] = Field(
        "one-cycle",
        description="How the learning rate goes: up to its highest and down again (`one-cycle`, Smith 2018), or "
        "`warmup` and then down (`cosine`) or level (`constant`)",
    )
    warmup: Annotated[float, Field(ge=0, le=0.9)] = Field(
        0.25, description="Share of the steps in which the learning rate rises"
    )
    epochs: Annotated[int, Field(ge=1, le=1000)] = Field(8, description="Passes over the examples, at most")
    batch_size: Annotated[int, Field(ge=2, le=4096)] = Field(32, description="Examples a step")
    weight_decay: Annotated[float, Field(ge=0, le=10)] = Field(0.01, description="Decoupled, as in AdamW")
    dropout: Share = Field(0.0, description="Of what the head reads")
    label_smoothing: Share = Field(0.1, description="Share of each label that is given to all classes")
    stay: Annotated[float, Field(ge=0, le=1e6)] = Field(
        0.0, description="Pull of each weight towards where it began (L2-SP, Li et al. 2018)"
    )
    ema: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0, description="Decay a step of the average of weights that is kept in their place; 0: the last ones"
    )
    mix: Literal["auto"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "auto",
        description="How far to go from the shallow start (0) to what was trained (1) (WiSE-FT, Wortsman et al. 2022); "
        "`auto`: what answers best on examples held out",
    )
    augment: Literal["auto", "none", "flip", "crop"] = Field(
        "auto",
        description="What is trained on besides the example as it is served: `flip`, mirrored left to right half of "
        "the time; `crop`, of `unfreeze=all`: random resized crops, mirrored half of the time. `auto`: `none`, as "
        "nobody but you knows whether a mirrored example still is what its label says",
    )
    mixup: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="α of mixup (Zhang et al. 2018), of `unfreeze=all`; 0: none"
    )
    patience: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="Epochs without a smaller loss on held-out examples after which to stop; 0 runs all"
    )


def check(hyperparameters: dict[str, Any]) -> Hyperparameters:
    """A caller's hyperparameters. Raises InvalidHyperparameter naming the first at fault."""
    try:
        return Hyperparameters.model_validate(hyperparameters)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:80]
        known = ", ".join(Hyperparameters.model_fields)
        message = f"hyperparameter {field!r} of deep: {first['msg']}; there are: {known}"
        raise InvalidHyperparameter(message, item=field) from None
