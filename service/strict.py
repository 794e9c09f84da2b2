"""Names of fields and options: what a route does not know is refused, and the nearest that it knows is named.

A misspelt option that has no effect looks as if it had one: `coverag=0.9` would be answered without a word.
"""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from adapters.errors import InvalidInput

SHOWN = 50  # characters of a name that is not known
FORM = "multipart/form-data"


def check(sent: Iterable[str], known: Collection[str], what: str = "field") -> None:
    """Raises InvalidInput for the first name, by the alphabet, that is not known."""
    unknown = set(sent).difference(known)
    if unknown:
        name = min(unknown)[:SHOWN]
        raise InvalidInput(f"unknown {what} {name!r}; {_hint(name, known)}", item=name)


def check_files(sent: Iterable[str], known: Collection[str], field: str) -> None:
    """The same for parts that are files, which only `field` may be."""
    for name in sorted(set(sent).difference(known)):
        raise InvalidInput(f"there is no field {name[:SHOWN]!r} for files; send them as `{field}`", item=name[:SHOWN])


def of_form(extra: dict[str, Any]) -> frozenset[str]:
    """The fields that a route's part of the OpenAPI document describes; none where it describes no form."""
    content = extra.get("requestBody", {}).get("content", {})
    return frozenset(content.get(FORM, {}).get("schema", {}).get("properties", {}))


def also_in_query(extra: dict[str, Any]) -> frozenset[str]:
    """Those that may come in the query as well: of forms that may also be one raw image."""
    raw = "image/*" in extra.get("requestBody", {}).get("content", {})
    return of_form(extra) if raw else frozenset()


def _hint(name: str, known: Collection[str]) -> str:
    listed = f"there are: {', '.join(sorted(known))}" if known else "there are none here"
    near = get_close_matches(name.lower(), sorted(known), 1)
    return f"did you mean {near[0]!r}? {listed[0].upper()}{listed[1:]}" if near else listed
