"""How requests say what they bring: `inputs` of any modality, a friendlier name for each (`images`, `texts`), one raw
body by its Content-Type, and strings in JSON where inputs are texts.
"""

import functools
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from adapters import modalities
from adapters.errors import InvalidInput, WrongModality

INPUTS = "inputs"
ANY_BYTES = "application/octet-stream"  # a raw body that does not say what it is
AS_JSON = "texts as application/json"
TEXT = "text/plain"  # a modality that takes it takes plain form fields and JSON strings, too


@functools.cache
def known() -> Mapping[str, str | None]:
    """Field → the modality that it says: {"inputs": None, "images": "image", …}."""
    return {INPUTS: None} | {modalities.get(name).FIELD: name for name in modalities.names()}


@functools.lru_cache(maxsize=64)
def of_media_type(kind: str) -> str | None:
    """The modality of a media type, lower case and without parameters; None where none is called so."""
    return next((name for name in modalities.names() if accepts(name, kind)), None)


def accepts(modality: str, kind: str) -> bool:
    """Whether bytes of that media type are of a modality."""
    return any(fnmatchcase(kind, pattern) for pattern in modalities.get(modality).MEDIA_TYPES)


@functools.cache
def may_be_text(field: str) -> bool:
    """Whether what comes in a field may be a plain form field or a JSON string, as well as a file."""
    modality = known().get(field)
    return field == INPUTS or (modality is not None and accepts(modality, TEXT))


@functools.cache
def other_bodies(*said: str | None) -> tuple[str, ...]:
    """What a route takes beside a form, for a message, where its fields say these modalities; None: they may be any."""
    kinds = (kind for name in modalities.names() if name in said for kind in modalities.get(name).MEDIA_TYPES)
    raw = f"one input as the body ({', '.join(kinds)})"
    return (raw, AS_JSON) if None in said else (raw,)


def the_one(sent: Iterable[str], fields: Iterable[str]) -> str | None:
    """The one of `fields` among those that were sent; None where there is none. Raises InvalidInput for two."""
    there = set(sent)
    found = [name for name in fields if name in there]
    if len(found) > 1:
        raise InvalidInput(f"send `{found[0]}` or `{found[1]}`, not both", item=found[1])
    return found[0] if found else None


def listed(fields: Iterable[str] | None = None) -> str:
    """Names of fields for a message: "`images`, `texts` or `inputs`"; the friendlier ones first."""
    return _listed(tuple(known() if fields is None else fields))


@functools.cache  # on every prediction's way
def _listed(fields: tuple[str, ...]) -> str:
    *names, last = sorted(fields, key=lambda name: name == INPUTS)
    return f"{', '.join(f'`{name}`' for name in names)} or `{last}`" if names else f"`{last}`"


def plural(modality: str) -> str:
    """What messages call several inputs: "images"."""
    return f"{modalities.get(modality).NOUN}s"


def require(sent: str | None, wanted: str, what: str, name: str) -> None:
    """Raises WrongModality unless what was sent is of the modality that `what` ("head") reads, or unsaid."""
    if sent not in (None, wanted):
        field = modalities.get(wanted).FIELD
        hint = f"send it {plural(wanted)}, in the field '{field}'"
        raise WrongModality(f"the {what} {name!r} reads {plural(wanted)}, not {plural(sent)}; {hint}", item=name)
