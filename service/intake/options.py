"""Options of /finetune → values. Raises InvalidInput, InvalidHyperparameter that name the field and the fix."""

import math
from collections.abc import Callable
from typing import Any

import jsonschema
from jsonschema.exceptions import best_match

from adapters import recipe, tasks
from adapters.backbones import cuts
from adapters.errors import InvalidHyperparameter, InvalidInput
from adapters.types import DEEP, Backbone, Deep, JobRequest
from service.intake import forms
from service.intake.uploads import Upload
from service.limits import json_text

AUTO = "auto"
MAX_VALUES, MAX_CHARACTERS = 1000, 100_000  # of hyperparameters
MAX_BUDGET = 3600.0  # seconds of racing


def choice(upload: Upload, name: str, choices: tuple[str, ...]) -> str:
    """A field with few values; the first is the default."""
    text = upload.field(name, choices[0]) or ""
    if text not in choices:
        raise InvalidInput(f"{name!r} must be {' or '.join(choices)}, not {text[:50]!r}", item=name)
    return text


def deep(upload: Upload, default: Deep) -> Deep:
    """Whether to train the last part of the backbone as well; `method=deep` says so by itself."""
    sent = upload.field("deep")
    chosen: Deep = choice(upload, "deep", ("auto", "never", "only")) if sent is not None else default  # type: ignore[assignment]
    if upload.field("method") != DEEP:
        return chosen
    if sent == "never":
        raise InvalidInput("method=deep trains the backbone's last part, which deep=never rules out", item="deep")
    return "only"


def seed(text: str) -> int:
    """A whole number."""
    if not forms.WHOLE.fullmatch(text) or not 0 <= int(text) < 2**31:
        raise InvalidInput(f"'seed' must be a whole number from 0 to 2147483647, not {text[:50]!r}", item="seed")
    return int(text)


def budget(text: str) -> float | None:
    """Seconds; None for auto."""
    if text == AUTO:
        return None
    if not 0 < (seconds := forms.number(text)) <= MAX_BUDGET:  # NaN is not either
        raise InvalidInput(
            f"'budget' must be auto, or seconds up to {MAX_BUDGET:,.0f}, not {text[:50]!r}", item="budget"
        )
    return seconds


def hyperparameters(text: str) -> dict[str, Any]:
    """A JSON object; {} for auto."""
    if text.strip().strip('"') == AUTO:
        return {}
    if len(text) > MAX_CHARACTERS:
        raise InvalidHyperparameter(f"'hyperparameters' has over {MAX_CHARACTERS:,} characters", item="hyperparameters")
    try:
        value = json_text.loads(text, MAX_VALUES, parse_constant=_not_a_number)
    except json_text.Twice as error:
        raise InvalidHyperparameter(f"in 'hyperparameters' {error}", item=error.name) from None
    except ValueError as error:
        why = str(error)[:100]
        raise InvalidHyperparameter(f"'hyperparameters' is not JSON: {why}", item="hyperparameters") from None
    if not isinstance(value, dict):
        raise InvalidHyperparameter("'hyperparameters' must be a JSON object or \"auto\"", item="hyperparameters")
    for name, number in value.items():
        if isinstance(number, float) and not math.isfinite(number):  # 1e999 is valid JSON
            _not_a_number(f"{name} = {number}")
    return value


def _not_a_number(text: str) -> Callable[[], None]:
    raise InvalidHyperparameter(f"hyperparameters must be finite numbers, not {text[:50]}", item="hyperparameters")


def check_schema(method: str, hyperparameters: dict[str, Any], schema: dict[str, Any]) -> None:
    """Whether hyperparameters are those of a method, by its JSON schema."""
    # Of `auto` or a number, what is wrong with the number, instead of that it is neither.
    error = best_match(jsonschema.Draft202012Validator(schema).iter_errors(hyperparameters))
    if error is None:
        return
    known = ", ".join(schema.get("properties", {}))
    unknown = sorted(set(hyperparameters) - set(schema.get("properties", {})))
    name = unknown[0] if unknown else ".".join(str(p) for p in error.absolute_path)
    reason = "is unknown" if unknown else error.message[:200]
    raise InvalidHyperparameter(
        f"hyperparameter {name[:80]!r} of {method}: {reason}; there are: {known}", item=name[:80]
    )


def check_deep(request: JobRequest) -> None:
    """What a schema cannot say of a deep fit: options that would do nothing beside others, or of such a task."""
    if request.method == DEEP:
        asked = recipe.check(request.hyperparameters, tasks.get(request.task).OBJECTIVE)
        if asked.ensemble not in (recipe.AUTO, 0) and not request.keep_examples:
            message = "what is added later to a head without its examples goes on from one network, not from two"
            raise InvalidHyperparameter(f"{message}; leave ensemble out, or keep the examples", item="ensemble")


def check_cut(request: JobRequest, backbone: Backbone) -> None:
    """Whether the backbone can be cut where a request for deep training asks for it."""
    if request.deep == "only":
        asked = recipe.Hyperparameters.model_validate(request.hyperparameters if request.method == DEEP else {})
        cuts.check_recorded(backbone, asked.unfreeze)
        cuts.check_views([cut.get("kind") for cut in backbone.details.get(cuts.RECORD, ())], asked.augment)
