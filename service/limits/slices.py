"""Checks of long lists and objects that neither keep Python's lock for long nor gather a hundred thousand errors.

pydantic checks each as a whole, in compiled code, and makes a Python object of every thing that is wrong: seconds for
2 MB, of which an answer names the first. So a list stops at its first error, and an object is checked in parts.
"""

from collections.abc import Callable
from typing import Any

from pydantic import FailFast, WrapValidator
from pydantic_core import PydanticKnownError

SLICE = 500  # entries of an object that are checked at a time


class _FirstError(FailFast):
    __hash__ = object.__hash__  # which it lacks, and an annotation in a union must have


FIRST_ERROR = _FirstError()


def in_slices(most: int) -> WrapValidator:
    """For objects of `most` entries at the most."""

    def check(value: Any, check_slice: Callable[[Any], Any]) -> Any:
        if not isinstance(value, dict) or len(value) <= SLICE:
            return check_slice(value)
        if len(value) > most:
            facts = {"field_type": "Dictionary", "max_length": most, "actual_length": len(value)}
            raise PydanticKnownError("too_long", facts)
        entries: list[Any] = list(value.items())
        checked: dict[Any, Any] = {}
        for start in range(0, len(entries), SLICE):
            checked.update(check_slice(dict(entries[start : start + SLICE])))  # raises at the first that has errors
        return checked

    return WrapValidator(check)
