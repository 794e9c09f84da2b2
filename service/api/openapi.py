"""What the streamed forms look like, for /docs: FastAPI cannot see into bodies that we read ourselves."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from adapters import modalities, tasks
from adapters.backbones import parts
from adapters.trust import ACCURACIES
from service.intake import fields
from service.intake.forms import LEAST_SECONDS, MOST_KEY
from service.intake.submissions import VIEWS
from service.wire import HEAD_REFERENCE

MAX_TOP_K, MAX_COUNT, MAX_GENERATION = 10_000, 1000, 2**53  # of options of forms
FORM, JSON, PROBLEM = "multipart/form-data", "application/json", "application/problem+json"


def _file(description: str) -> dict[str, Any]:
    return {"type": "string", "contentMediaType": "application/octet-stream", "description": description}


def _many(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _form(properties: dict[str, Any], required: list[str], raw: Iterable[str] = ()) -> dict[str, Any]:
    """A form; with `raw`, one input of these media types may be the body."""
    content: dict[str, Any] = {FORM: {"schema": _object(properties, required)}}
    content |= {kind: {"schema": {"type": "string", "contentMediaType": kind}} for kind in raw}
    return {"requestBody": {"required": True, "content": content}}


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required}


def _of_inputs(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    """A form with inputs in one of their fields, the same as JSON where they are texts, or one input as the body."""
    made = _form(_INPUTS | properties, required, RAW)
    content = made["requestBody"]["content"]
    content[FORM]["schema"]["oneOf"] = [{"required": [name]} for name in _INPUTS]
    content[JSON] = {
        "schema": _object(_STRINGS | properties, required) | {"oneOf": [{"required": [n]} for n in _STRINGS]}
    }
    return made


def _one_or_many(item: dict[str, Any]) -> dict[str, Any]:
    return {"oneOf": [item, _many(item) | {"minItems": 1}]}


def _fields() -> dict[str, Any]:
    """Field → its schema, the friendlier names first."""
    kinds = [modalities.get(name) for name in modalities.names()]
    named = {kind.FIELD: _field(kind.FIELD, _formats(kind.FORMATS)) for kind in kinds}
    which = ", ".join(f"`{name}`" for name in named)
    return named | {fields.INPUTS: _field(fields.INPUTS, f"Of the kind that the head reads; {which} say which.")}


def _field(name: str, description: str) -> dict[str, Any]:
    """Files; where they may be texts nothing is said of a type: any field of a form is a text."""
    if not fields.may_be_text(name):
        return _many(_file(description)) | {"minItems": 1}
    return {"description": f"{description} As files, or texts as plain fields; may be repeated."}


def _formats(formats: Sequence[str]) -> str:
    return f"{', '.join(formats[:-1])} or {formats[-1]}." if len(formats) > 1 else f"{formats[0]}."


RAW = [kind for name in modalities.names() for kind in modalities.get(name).MEDIA_TYPES]
_INPUTS = _fields()
_STRINGS = {name: _one_or_many({"type": "string"}) for name in _INPUTS if fields.may_be_text(name)}
_HEADS = _many({"type": "string", "pattern": HEAD_REFERENCE, "description": "`name`, `name@3` or `name@canary`."})
_TOP_K = {"type": "integer", "default": 5, "minimum": 1, "maximum": MAX_TOP_K}
_MIN_GENERATION = {
    "type": "integer", "default": 0, "minimum": 0, "maximum": MAX_GENERATION,
    "description": "Never answer from an older state than this.",
}  # fmt: skip
_ON_ERROR = {
    "enum": ["fail", "skip"],
    "default": "fail",
    "description": "skip: answer for the inputs that can be read.",
}

_COVERAGE = {
    "type": "number",
    "exclusiveMinimum": 0,
    "exclusiveMaximum": 1,
    "description": "Answer with a set of labels, too, that holds the truth this often.",
}
_ABSTAIN = {
    "enum": list(ACCURACIES),
    "description": "Say whether to leave an answer be, so that this share of the others is right.",
}

_TIMEOUT = {
    "type": "number",
    "minimum": LEAST_SECONDS,
    "description": "Seconds for the answer once the request is complete; then 504. The server's own limit is the most.",
}

_STICKY = {
    "type": "string",
    "minLength": 1,
    "maxLength": MOST_KEY,
    "description": "Requests with the same key are answered by the same version of a head that is rolled out.",
}

_PREDICT_QUERY = [
    {"name": "head", "in": "query", "required": False, "schema": _HEADS,
     "description": "For a raw body: `name`, `name@3` or `name@canary`; may be repeated."},
    {"name": "top_k", "in": "query", "required": False, "schema": _TOP_K},
    {"name": "min_generation", "in": "query", "required": False, "schema": _MIN_GENERATION},
    {"name": "timeout", "in": "query", "required": False, "schema": _TIMEOUT},
    {"name": "coverage", "in": "query", "required": False, "schema": _COVERAGE},
    {"name": "abstain", "in": "query", "required": False, "schema": _ABSTAIN},
    {"name": "sticky", "in": "query", "required": False, "schema": _STICKY},
    {"name": "X-Request-Key", "in": "header", "required": False, "schema": _STICKY},
]  # fmt: skip

PREDICT_FORM = _of_inputs(
    {
        "head": _HEADS | {"minItems": 1},
        "top_k": _TOP_K,
        "on_error": _ON_ERROR,
        "min_generation": _MIN_GENERATION,
        "timeout": _TIMEOUT,
        "coverage": _COVERAGE,
        "abstain": _ABSTAIN,
        "sticky": _STICKY,
    },
    ["head"],
) | {"parameters": _PREDICT_QUERY}

SUGGEST_FORM = _of_inputs(
    {
        "count": {"type": "integer", "default": 10, "minimum": 1, "maximum": MAX_COUNT},
        "on_error": _ON_ERROR,
        "timeout": _TIMEOUT,
    },
    [],
)

EMBED_FORM = _of_inputs(
    {
        "backbone": {"type": "string"},
        "on_error": _ON_ERROR,
        "timeout": _TIMEOUT,
        "taps": {"type": "boolean", "default": False, "description": "What earlier blocks saw, too, behind `pooled`."},
    },
    [],
)

BENTO_FORM = _form(
    {
        "image": _file("JPEG, PNG, WebP, BMP, GIF or TIFF."),
        "head": {"type": "string", "description": "`name`, `name@3` or `name@canary`."},
        "top_k": {"type": "integer", "default": 5, "minimum": 1},
    },
    ["image", "head"],
    ["image/*"],
)

_TEACH = {
    "head": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"},
    "labels": _many({"type": "string", "description": "In the order of the inputs, or once as a JSON array."}),
}
_LABELS = {"description": "In the order of the texts: a class, a list of labels, a number, or an object of numbers."}
_OPTIONS = {
    "on_error": {
        "enum": ["fail", "skip"],
        "default": "fail",
        "description": "skip: leave out inputs that cannot be read or have two labels, and say which.",
    },
    "task": {
        "type": "string",
        "enum": list(tasks.names()),
        "description": "Default: the head's own, or the first.",
    },
    "method": {"type": "string", "default": "auto", "description": "GET /methods lists them."},
    "hyperparameters": {"type": "string", "default": "auto", "description": "A JSON object for the method."},
    "backbone": {"type": "string", "description": "GET /backbones lists them."},
    "mode": {"enum": ["append", "replace"], "default": "append"},
    "seed": {"type": "integer", "default": 0, "minimum": 0, "maximum": 2**31 - 1},
    "views": {
        "enum": list(VIEWS),
        "default": "auto",
        "description": "Crops and mirror images to train on as well; auto: of few images, where they help.",
    },
    "reads": {
        "enum": list(parts.CHOICES),
        "default": "auto",
        "description": "What of an embedding the head reads: pooled, the last layer; taps, earlier blocks as well.",
    },
    "budget": {
        "type": "string",
        "default": "auto",
        "description": "Estimated seconds of one core that the race may take; more tries more candidates. From 30 on "
        "also what the next stage may take.",
    },
    "deep": {
        "enum": ["auto", "never", "only"],
        "description": "Train the last part of the backbone, too. auto: in a job of its own, after the version is "
        "live, where data suffice, and only if it proves better; only: in this job. Default: ESPALIER_DEEP.",
    },
    "keep_examples": {
        "type": "boolean",
        "default": True,
        "description": "false: the head's examples and their embeddings are deleted once the version is live. What is "
        "added later goes on from a deep version; what needs examples is refused (examples_not_kept). Of a head whose "
        "examples were not kept false is the default.",
    },
    "deploy": {
        "enum": ["auto", "manual"],
        "default": "auto",
        "description": "manual: make a version, move no alias.",
    },
}
_FILES = {
    "archive": _file("A zip with one folder a class; optional train/, val/, test/ above them."),
    "archive_encoding": {
        "type": "string",
        "description": "Of names in the archive that do not say theirs, such as cp932, gbk, cp850 or cp1252.",
    },
    "root": {"type": "string", "description": "The folder of the archive in which classes or splits begin."},
    "received": {
        "type": "string",
        "description": "Beside a manifest, of who has read a folder: JSON with layout and, if you like, root, "
        "manifest, names, splits and passed_over (count and list, of item and reason). The job says "
        "so, read_by client.",
    },
    "manifest": _file(
        "CSV or JSONL with file_name, or text for the texts themselves, and label, optional split, group."
    ),
}
FINETUNE_FORM = _form(_TEACH | _INPUTS | _FILES | _OPTIONS, ["head"])
FINETUNE_FORM["requestBody"]["content"][JSON] = {
    "schema": _object(_TEACH | {"labels": _many(_LABELS)} | _STRINGS | _OPTIONS, ["head", "labels"])
}


KEYS = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key, or a token of the issuer."},
    "password": {"type": "http", "scheme": "basic", "description": "An API key as the password, for browsers."},
}


def with_problems(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """An OpenAPI document whose errors have the media type that they really have.

    FastAPI says `application/json` of every model, and adds a 422 of a form of its own that no route answers with.
    """
    document = make()
    for operation in (o for path in document["paths"].values() for o in path.values()):
        operation["responses"].pop("422", None)
        for status, response in operation["responses"].items():
            if status[0] in "45" and JSON in response.get("content", {}):
                response["content"] = {PROBLEM: response["content"][JSON]}
    document["components"]["securitySchemes"] = KEYS
    document["security"] = [{}, *({name: []} for name in KEYS)]  # nobody needs one until there is one
    return document
