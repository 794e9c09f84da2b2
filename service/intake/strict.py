"""Names of fields and options: what a route does not know is refused, and the nearest that it knows is named.

A misspelt option that has no effect looks as if it had one: `coverag=0.9` would be answered without a word.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, get_args

from adapters.errors import InvalidInput

SHOWN = 50  # characters of a name that is not known
_NUMBER = re.compile("[0-9eE.+-]*")
FORM, JSON = "multipart/form-data", "application/json"


def check(sent: Iterable[str], known: Collection[str], what: str = "field") -> None:
    """Raises InvalidInput for the first name, by the alphabet, that is not known."""
    unknown = set(sent).difference(known)
    if unknown:
        name = min(unknown)[:SHOWN]
        raise InvalidInput(f"unknown {what} {name!r}; {_hint(name, known)}", item=name)


def check_numbers(sent: Mapping[str, Any], numbers: frozenset[str]) -> None:
    """Raises InvalidInput for a number of which more than ASCII digits, signs, a point and an exponent are sent.

    Pydantic reads `1_0` as 10 and `1\\r\\n` as 1, as Python does: a version would be deleted that nobody named.
    """
    for name in sorted(numbers & sent.keys()):
        if not _NUMBER.fullmatch(str(sent[name])):
            raise InvalidInput(f"{name!r} must be a number, not {sent[name][:SHOWN]!r}", item=name)


def check_body(place: Sequence[str | int], model: Any) -> None:
    """The same for a field of a JSON body that `model`, of pydantic, does not know; `place` is where it was found."""
    name, where = str(place[-1]), ".".join(map(str, place))
    raise InvalidInput(f"unknown field {_told(name)!r}; {_hint(name[:SHOWN], _fields(model, place[:-1]))}",
                       item=_told(where, 4 * SHOWN))  # fmt: skip


def _told(text: str, most: int = SHOWN) -> str:
    """A key of a body may be of any length, and have halves of surrogate pairs, which no answer can carry."""
    return text[:most].encode("utf-8", "replace").decode()


def _fields(model: Any, place: Sequence[str | int]) -> Collection[str]:
    """The fields of a model, or of the one inside it at that place."""
    for part in place:
        field = getattr(_model(model), "model_fields", {}).get(part)
        model = model if field is None else field.annotation  # a position in a list, or one of several types
    return list(getattr(_model(model), "model_fields", {}))


def _model(annotation: Any) -> Any:
    """The first model in an annotation such as `list[Model] | None`."""
    if hasattr(annotation, "model_fields"):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model(part))), None)


def check_files(sent: Iterable[str], known: Collection[str], fields: str) -> None:
    """The same for parts that are files, which only `fields` may be, as messages list them."""
    for name in sorted(set(sent).difference(known)):
        raise InvalidInput(f"there is no field {name[:SHOWN]!r} for files; send them as {fields}", item=name[:SHOWN])


def of_form(extra: dict[str, Any]) -> frozenset[str]:
    """The fields that a route's part of the OpenAPI document describes; none where it describes no form."""
    content = extra.get("requestBody", {}).get("content", {})
    return frozenset(content.get(FORM, {}).get("schema", {}).get("properties", {}))


def also_in_query(extra: dict[str, Any]) -> frozenset[str]:
    """Those that may come in the query as well: of forms that may also be one raw input."""
    raw = set(extra.get("requestBody", {}).get("content", {})) - {FORM, JSON}
    return of_form(extra) if raw else frozenset()


def _hint(name: str, known: Collection[str]) -> str:
    listed = f"there are: {', '.join(sorted(known))}" if known else "there are none here"
    near = get_close_matches(name.lower(), sorted(known), 1)
    return f"did you mean {near[0]!r}? {listed[0].upper()}{listed[1:]}" if near else listed
