"""METHOD SEAM: one file per way to train a head; the file name is the name. torch lives here and above.

A method turns embeddings and targets into HeadPrograms, one for each setting that it is given, all solved together.
It ends with logits: the race adds the temperature and the task's last step.
"""

import functools
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from pydantic import BaseModel, ValidationError

from adapters.errors import InvalidHyperparameter, InvalidInput
from adapters.types import HeadProgram, Objective

if TYPE_CHECKING:
    import torch

    from adapters.fitting.inputs import Inputs

Setting = dict[str, Any]  # one concrete choice of every hyperparameter, ready for JSON


@dataclass(frozen=True, slots=True)
class Regime:
    """What a method may know of the data when it says which settings are worth trying."""

    examples: int  # N, in all that is trained on
    dimension: int  # D
    classes: int  # K
    smallest: int  # training examples of the smallest class
    median: float  # of the median class
    largest: int  # and of the largest
    objective: Objective = "softmax"

    @property
    def rank(self) -> int:
        """The most dimensions that N embeddings can span."""
        return min(self.examples, self.dimension)


class Method(Protocol):
    """What every file of this folder offers."""

    OBJECTIVES: tuple[Objective, ...]  # what it can make small
    CLOSED_FORM: bool  # a fit is a few products and decompositions; others iterate, and come second in a race
    Hyperparameters: type[BaseModel]  # its JSON schema is what the API publishes

    def promise(self, regime: Regime) -> float:
        """How early `auto` lets this method in, before its budget is spent: the highest first, zero never."""

    def settings(self, hyperparameters: Any, regime: Regime) -> list[Setting]:
        """The concrete candidates that a caller's hyperparameters leave open, from most to least regularised."""

    def work(self, regime: Regime, settings: list[Setting]) -> float:
        """About how many floating-point operations one fit of these settings takes, beside making their inputs."""

    def fit(
        self,
        inputs: "Inputs",
        targets: "torch.Tensor",
        classes: int,
        settings: list[Setting],
        seed: int,
        cancelled: Callable[[], None],
        start: list[HeadProgram] | None = None,
        final: bool = False,
        objective: Objective = "softmax",
    ) -> list[HeadProgram]:
        """Inputs of N examples and targets → one program for each setting, ending in raw outputs [N, K].

        Targets are class numbers i64 [N] for softmax, f32 [N, K] of zeros and ones for sigmoid, and of mean zero and
        variance one for squared error; `classes` is K. Raw outputs are logits of any scale, but values as they are.
        Every class must occur. `cancelled` is called often and raises when the job was cancelled. `start` are programs
        of the same settings fitted on similar data: a place to begin, which must not change where the fit ends.
        `final` asks for all the accuracy there is; without it the programs are only compared with each other.
        """


@runtime_checkable
class LeavesOut(Method, Protocol):
    """A method that knows, from one fit, what it would have said of each example without having seen it."""

    def left_out(
        self,
        inputs: "Inputs",
        groups: "torch.Tensor",
        targets: "torch.Tensor",
        classes: int,
        settings: list[Setting],
        objective: Objective = "softmax",
    ) -> list[float]:
        """As `fit`, and the group of each row i64 [N] → the error of each setting, in the method's own measure.

        Settings differ in strength only. Whole groups are left out, so that no copy of an example speaks for it. Empty
        where there is no closed form, or it would take longer than folds.
        """


@functools.cache
def names() -> tuple[str, ...]:
    """Every method there is: the files of this folder."""
    return tuple(sorted(module.name for module in pkgutil.iter_modules(__path__)))


def get(name: str) -> Method:
    """The method of that name. Raises InvalidInput that lists what there is."""
    if name not in names():
        raise InvalidInput(f"there is no method {name[:50]!r}; there are: auto, {', '.join(names())}", item="method")
    return cast(Method, importlib.import_module(f"{__name__}.{name}"))


def check(name: str, hyperparameters: dict[str, Any]) -> BaseModel:
    """A caller's hyperparameters as the method's own model. Raises InvalidHyperparameter naming the first at fault."""
    model = get(name).Hyperparameters
    try:
        return model.model_validate(hyperparameters)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field = ".".join(str(part) for part in first["loc"])[:80]
        known = ", ".join(model.model_fields)
        message = f"hyperparameter {field!r} of {name}: {first['msg']}; there are: {known}"
        raise InvalidHyperparameter(message, item=field) from None
