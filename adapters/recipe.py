"""What a caller may set about a deep fit, under the field's names. Pydantic alone: whoever checks needs no torch.

Defaults are measured: `python -m benchmarks deep`.
"""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.errors import InvalidHyperparameter
from adapters.types import Objective

AUTO, ALL = "auto", "all"
RAND_AUGMENT = "randaugment"
USUAL = (9, 2)  # magnitude and operations that it stands for: timm's rand-m9-n2
Share = Annotated[float, Field(ge=0, le=0.95)]


class Hyperparameters(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    unfreeze: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        AUTO,
        description="What is trained besides the head: all that comes after the block of this name "
        "(`espalier backbones show` lists them), `all`, or `auto`: the last blocks, up to 45 % "
        "of the network's work, and fewer where the budget does not allow that",
    )
    schedule: Literal["together", "gradual"] = Field(
        "together",
        description="`gradual` begins with the head and unfreezes one more block with each epoch, from the top "
        "(ULMFiT; fastai's freeze_to), or several where there are few epochs: all move in the last third of them. A "
        "single epoch trains all",
    )
    freeze_epochs: Annotated[int, Field(ge=0, le=1000)] = Field(
        0,
        description="Epochs at the beginning that train the head alone (fastai's fine_tune; Keras's first stage); they "
        "are part of `epochs`",
    )
    hidden: Annotated[int, Field(ge=0, le=4096)] = Field(
        0,
        description="Units of a hidden layer of the head, with ReLU (Keras's Dense); 0: the head is that of the race's "
        "best on the frozen backbone",
    )
    optimizer: Literal["adamw", "adam", "sgd"] = Field("adamw", description="AdamW, Adam, or SGD with `momentum`")
    momentum: Annotated[float, Field(ge=0, lt=1)] = Field(0.9, description="Of SGD")
    learning_rate: Literal["auto"] | Annotated[float, Field(gt=0, le=10)] = Field(
        "auto",
        description="At its highest, of the head and the last block; `auto`: 0.002 of convolutions, 0.0005 with "
        "`unfreeze=all`, 0.0003 of transformers",
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
    weight_decay: Annotated[float, Field(ge=0, le=10)] = Field(
        0.01, description="Decoupled, as in AdamW; of `adam` a part of the gradient, as torch has it"
    )
    clip_grad: Annotated[float, Field(ge=0, le=1e6)] = Field(
        1.0, description="The longest that a batch's gradient may be, by its norm; 0: any"
    )
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
    ensemble: Literal["auto"] | Annotated[float, Field(ge=0, lt=1)] = Field(
        0.0,
        description="Weight of the shallow head's logits beside those of what was trained (an ensemble of both); "
        "`auto`: what answers best on examples held out, as next stages and `deep=only` have it; 0: one network that "
        "reads a `tap` alone, and the only way where examples are not kept",
    )
    augment: Annotated[str, Field(pattern=rf"^(auto|none|flip|crop|{RAND_AUGMENT}|rand-m(10|\d)-n[1-9])$")] = Field(
        "auto",
        description="What is trained on besides the example as it is served: `flip`, mirrored left to right half of "
        "the time; `crop`, random resized crops, mirrored half of the time; or `rand-m9-n2`, those, and then "
        "RandAugment (Cubuk et al. 2020), here 2 operations an image at magnitude 9 of 10, as timm spells it, for "
        "which `randaugment` stands. With `unfreeze=all` they are drawn anew for each batch, behind a cut four of each "
        "example, once, since the frozen part has to see them. `auto`: `none`, as nobody but you knows whether a "
        "mirrored example still is what its label says",
    )
    mixup: Annotated[float, Field(ge=0, le=10)] = Field(
        0.0, description="α of mixup (Zhang et al. 2018), of `unfreeze=all`; 0: none"
    )
    patience: Annotated[int, Field(ge=0, le=1000)] = Field(
        0, description="Epochs without a smaller loss on held-out examples after which to stop; 0 runs all"
    )
    precision: Literal["auto", "fp32"] = Field(
        "auto",
        description="Of what was trained, when it is served: `auto` takes the backbone's where answers measure the "
        "same, as the report says (int8 takes less than half of the time and a quarter of the memory); `fp32` does not",
    )

    @property
    def answering(self) -> float:
        """The mix of the weights that answer held-out examples after each epoch: the one that is asked for, or all."""
        return 1.0 if self.mix == AUTO else float(self.mix)


def check(hyperparameters: dict[str, Any], objective: Objective = "softmax") -> Hyperparameters:
    """A caller's hyperparameters, for a task of that objective. Raises InvalidHyperparameter naming one at fault."""
    try:
        found = Hyperparameters.model_validate(hyperparameters)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:80]
        known = ", ".join(Hyperparameters.model_fields)
        message = f"hyperparameter {field!r} of deep: {first['msg']}; there are: {known}"
        raise InvalidHyperparameter(message, item=field) from None
    _refuse_what_would_do_nothing(found)
    _refuse_what_is_not_read(found, objective)
    return found


def rand_augment(augment: str) -> tuple[int, int] | None:
    """Magnitude, 0 to 10, and operations an image; None for what is no RandAugment."""
    if augment == RAND_AUGMENT:
        return USUAL
    named = re.fullmatch(r"rand-m(\d+)-n(\d+)", augment)
    return (int(named[1]), int(named[2])) if named else None


def crops(augment: str) -> bool:
    """Whether random resized crops are trained on."""
    return augment == "crop" or rand_augment(augment) is not None


def _refuse_what_would_do_nothing(found: Hyperparameters) -> None:
    if found.freeze_epochs >= found.epochs:
        message = (
            f"freeze_epochs={found.freeze_epochs} leaves none of epochs={found.epochs} to train more than the head"
        )
        raise InvalidHyperparameter(f"{message}; raise epochs, as freeze_epochs are part of them", item="freeze_epochs")
    if found.mixup and found.unfreeze != ALL:
        message = f"mixup={found.mixup} changes pixels, which unfreeze={found.unfreeze} does not train from"
        raise InvalidHyperparameter(f"{message}; say unfreeze=all, of images, or leave mixup out", item="mixup")


def _refuse_what_is_not_read(found: Hyperparameters, objective: Objective) -> None:
    if "momentum" in found.model_fields_set and found.optimizer != "sgd":
        message = f"momentum={found.momentum} is of SGD, and optimizer={found.optimizer} does without"
        raise InvalidHyperparameter(f"{message}; say optimizer=sgd, or leave momentum out", item="momentum")
    if "label_smoothing" in found.model_fields_set and objective == "squared":
        message = f"label_smoothing={found.label_smoothing} is of labels, and numbers have none to smooth"
        raise InvalidHyperparameter(f"{message}; leave label_smoothing out", item="label_smoothing")
