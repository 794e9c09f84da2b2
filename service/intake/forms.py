"""Forms of /predict and /embed → checked arguments. Raises InvalidInput that names the field and the fix."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from starlette.requests import Request

from adapters.errors import InvalidInput
from adapters.predict import OnError
from adapters.types import HeadRef
from service.access.principal import mine
from service.intake import fields, json_forms, strict, uploads
from service.limits.space import Space
from service.settings import Settings
from service.wire import check_head_name, reference

WHOLE = re.compile(r"-?[0-9]{1,18}")
NUMBER = re.compile(r"-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", re.ASCII)
LEAST_SECONDS = 0.05  # hardly an answer is there sooner: less would be a 504 whatever happens
MOST_DIGITS = 400  # characters of a number: any float in full
MOST_KEY = 256  # characters of the key that requests are told apart by in a roll-out
OPTIONS = 100  # fields of a form beside its inputs and heads


@dataclass(slots=True)
class InputForm:
    """Inputs and the options sent with them, in the form, in JSON or in the query."""

    inputs: list[bytes | memoryview]
    options: dict[str, list[str]]
    modality: str | None = None  # that the field or the Content-Type says; None for any
    upload: uploads.Upload | None = None

    def close(self) -> None:
        """Let go of the body."""
        if self.upload is not None:
            self.upload.close()

    def many(self, name: str) -> list[str]:
        """Every value of an option."""
        return self.options.get(name, [])

    def one(self, name: str, default: str) -> str:
        """The only value of an option. Raises InvalidInput when it is repeated."""
        values = self.options.get(name, [])
        if len(values) > 1:
            raise InvalidInput(f"{name!r} was sent {len(values)} times; send it once", item=name)
        return values[0] if values else default

    def integer(self, name: str, default: int, low: int, high: int) -> int:
        """An option as a whole number between bounds."""
        text = self.one(name, str(default))
        if not WHOLE.fullmatch(text) or not low <= int(text) <= high:
            raise InvalidInput(f"{name!r} must be a whole number from {low} to {high}, not {text[:50]!r}", item=name)
        return int(text)

    def share(self, name: str) -> float | None:
        """An option as a number between 0 and 1, both excluded; None where it was not sent."""
        if name not in self.options:
            return None
        text = self.one(name, "")
        if not 0 < (share := number(text)) < 1:
            raise InvalidInput(f"{name!r} must be a number above 0 and below 1, not {text[:50]!r}", item=name)
        return share

    def seconds(self, name: str, most: float) -> float:
        """An option as a number of seconds, at most so many, which is also what counts where it was not sent."""
        if name not in self.options:
            return most
        text = self.one(name, "")
        if not (seconds := number(text)) >= LEAST_SECONDS:
            hint = f"{name!r} must be a number of seconds, at least {LEAST_SECONDS}, not {text[:50]!r}"
            raise InvalidInput(hint, item=name)
        return min(seconds, most)

    def key(self, name: str, header: str | None) -> str | None:
        """An option that is a short text, or a header in its place; None where neither was sent."""
        text = self.one(name, "") if name in self.options else header
        if text is not None and not 1 <= len(text) <= MOST_KEY:
            raise InvalidInput(f"{name!r} must have 1 to {MOST_KEY} characters, not {len(text)}", item=name)
        return text

    def flag(self, name: str) -> bool:
        """An option that is true or false, which counts where it was not sent."""
        text = self.one(name, "false").lower()
        if text not in ("true", "false"):
            raise InvalidInput(f"{name!r} must be true or false, not {text[:50]!r}", item=name)
        return text == "true"

    def on_error(self) -> OnError:
        """What to do with inputs that cannot be used."""
        text = self.one("on_error", "fail")
        if text not in ("fail", "skip"):
            raise InvalidInput(f"'on_error' must be fail or skip, not {text[:50]!r}", item="on_error")
        return text  # type: ignore[return-value]


def number(text: str) -> float:
    """A decimal number; NaN, which no comparison is true of, where it is none."""
    return float(text) if len(text) <= MOST_DIGITS and NUMBER.fullmatch(text) else math.nan


async def receive(
    request: Request,
    settings: Settings,
    take: Callable[[int], None],
    space: Space | None = None,
    known: frozenset[str] = frozenset(),
    names: Mapping[str, str | None] | None = None,
) -> InputForm:
    """A form or a JSON object with inputs, or one raw input as the body with its options in the query.

    `known` are all fields and options; `names` are those in which inputs come, with the modality that each says, by
    default `fields.known()`; `take` is told how many bytes came, and may refuse them; `space` has room for them.
    """
    names = fields.known() if names is None else names
    query: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        query.setdefault(name, []).append(value)
    strict.check(query, known - names.keys(), "option")
    kind = uploads.media_type(request)
    modality = fields.of_media_type(kind)
    if kind == fields.ANY_BYTES or (modality is not None and modality in names.values()):
        body = await uploads.read_body(request, settings.max_predict_bytes, take)
        data = uploads.as_utf8(request, body) if kind.startswith("text/") else body
        form = InputForm([data], query, modality or _only(names))
    else:
        form = _from_upload(query, await _upload(request, settings, take, space, kind, names), known, names)
    try:
        _check_count(form, settings.max_predict_inputs, names)
    except InvalidInput:
        form.close()
        raise
    return form


async def _upload(
    request: Request, settings: Settings, take: Callable[[int], None], space: Space | None, kind: str,
    names: Mapping[str, str | None],
) -> uploads.Upload:  # fmt: skip
    parts = min(settings.max_predict_inputs + settings.max_predict_heads + OPTIONS, settings.max_form_parts)
    if json_forms.is_json(kind) and fields.INPUTS in names:
        most = min(settings.max_json_bytes, settings.max_predict_bytes)
        return await json_forms.receive(request, most, take, space, max_parts=parts)
    return await uploads.receive(
        request, max_bytes=settings.max_predict_bytes, max_parts=parts,
        max_field_bytes=settings.max_field_bytes, take=take, space=space, others=fields.other_bodies(*names.values()),
    )  # fmt: skip


def _from_upload(
    query: dict[str, list[str]], upload: uploads.Upload, known: frozenset[str], names: Mapping[str, str | None]
) -> InputForm:
    try:
        files = (part.name for part in upload.parts if part.file_name is not None)
        strict.check_files(files, known, fields.listed(names))
        strict.check(upload.names, known)
        field = fields.the_one(upload.names, names)
        sent = {name: upload.fields(name) for name in upload.names if name != field}
        inputs = [] if field is None else [part.utf8() for part in upload.inputs(field)]
        return InputForm(inputs, query | sent, None if field is None else names[field], upload)
    except InvalidInput:
        upload.close()
        raise


def _only(names: Mapping[str, str | None]) -> str | None:
    """The modality of a route that takes one."""
    return next(iter(names.values())) if len(names) == 1 else None


def _check_count(form: InputForm, most: int, names: Mapping[str, str | None]) -> None:
    item = next(iter(names))
    if not form.inputs:
        raise InvalidInput(f"no {item}: send at least one as {fields.listed(names)}, or one as the body", item=item)
    if len(form.inputs) > most:
        said = f"{len(form.inputs)} {fields.plural(form.modality) if form.modality else fields.INPUTS}"
        raise InvalidInput(f"{said} in one request; at most {most}, so split them", item=item)


def head_refs(references: Sequence[str], most: int) -> list[HeadRef]:
    """`name`, `name@3`, `name@canary` → references. Raises InvalidInput."""
    if not references:
        raise InvalidInput("no head: say which one shall answer with `head`", item="head")
    if len(references) > most:
        raise InvalidInput(f"{len(references)} heads in one request; at most {most}, so split them", item="head")
    return [head_ref(reference) for reference in references]


def head_ref(text: str) -> HeadRef:
    """One reference of a caller's, to a head of its tenant. Raises InvalidInput, Forbidden."""
    check_head_name(text.partition("@")[0])
    return reference(mine(text))
