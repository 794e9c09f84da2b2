"""What the streamed forms look like, for /docs: FastAPI cannot see into bodies that we read ourselves."""

from collections.abc import Callable
from typing import Any

from adapters import modalities, tasks
from adapters.backbones import parts
from adapters.modalities import image
from adapters.trust import ACCURACIES
from service.intake.forms import LEAST_SECONDS, MOST_KEY
from service.wire import HEAD_REFERENCE

MAX_TOP_K, MAX_COUNT, MAX_GENERATION = 10_000, 1000, 2**53  # of options of forms
JSON, PROBLEM = "application/json", "application/problem+json"


def _file(description: str) -> dict[str, Any]:
    return {"type": "string", "contentMediaType": "application/octet-stream", "description": description}


def _many(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": item}


def _form(properties: dict[str, Any], required: list[str], raw: bool) -> dict[str, Any]:
    schema = {"type": "object", "properties": properties, "required": required}
    content: dict[str, Any] = {"multipart/form-data": {"schema": schema}}
    if raw:
        content["image/*"] = {"schema": {"type": "string", "contentMediaType": "image/*"}}
    return {"requestBody": {"required": True, "content": content}}


_IMAGES = _many(_file(f"{', '.join(image.FORMATS[:-1])} or {image.FORMATS[-1]}.")) | {"minItems": 1}
_HEADS = _many({"type": "string", "pattern": HEAD_REFERENCE, "description": "`name`, `name@3` or `name@canary`."})
_TOP_K = {"type": "integer", "default": 5, "minimum": 1, "maximum": MAX_TOP_K}
_MIN_GENERATION = {
    "type": "integer", "default": 0, "minimum": 0, "maximum": MAX_GENERATION,
    "description": "Never answer from an older state than this.",
}  # fmt: skip
_ON_ERROR = {
    "enum": ["fail", "skip"],
    "default": "fail",
    "description": "skip: answer for the images that can be read.",
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
     "description": "For a raw image body: `name`, `name@3` or `name@canary`; may be repeated."},
    {"name": "top_k", "in": "query", "required": False, "schema": _TOP_K},
    {"name": "min_generation", "in": "query", "required": False, "schema": _MIN_GENERATION},
    {"name": "timeout", "in": "query", "required": False, "schema": _TIMEOUT},
    {"name": "coverage", "in": "query", "required": False, "schema": _COVERAGE},
    {"name": "abstain", "in": "query", "required": False, "schema": _ABSTAIN},
    {"name": "sticky", "in": "query", "required": False, "schema": _STICKY},
    {"name": "X-Request-Key", "in": "header", "required": False, "schema": _STICKY},
]  # fmt: skip

IMAGE_FORM = _form(
    {
        "images": _IMAGES,
        "head": _HEADS | {"minItems": 1},
        "top_k": _TOP_K,
        "on_error": _ON_ERROR,
        "min_generation": _MIN_GENERATION,
        "timeout": _TIMEOUT,
        "coverage": _COVERAGE,
        "abstain": _ABSTAIN,
        "sticky": _STICKY,
    },
    ["images", "head"],
    raw=True,
) | {"parameters": _PREDICT_QUERY}

SUGGEST_FORM = _form(
    {
        "images": _IMAGES,
        "count": {"type": "integer", "default": 10, "minimum": 1, "maximum": MAX_COUNT},
        "on_error": _ON_ERROR,
        "timeout": _TIMEOUT,
    },
    ["images"],
    raw=True,
)

EMBED_FORM = _form(
    {
        "images": _IMAGES,
        "backbone": {"type": "string"},
        "on_error": _ON_ERROR,
        "timeout": _TIMEOUT,
        "taps": {"type": "boolean", "default": False, "description": "What earlier blocks saw, too, behind `pooled`."},
    },
    ["images"],
    raw=True,
)

BENTO_FORM = _form(
    {
        "image": _file("JPEG, PNG, WebP, BMP, GIF or TIFF."),
        "head": {"type": "string", "description": "`name`, `name@3` or `name@canary`."},
        "top_k": {"type": "integer", "default": 5, "minimum": 1},
    },
    ["image", "head"],
    raw=True,
)

FINETUNE_FORM = _form(
    {
        "head": {"type": "string", "pattern": "^[a-z0-9][a-z0-9._-]{0,62}$"},
        "images": _IMAGES,
        "labels": _many({"type": "string", "description": "In the order of `images`, or once as a JSON array."}),
        "archive": _file("A zip with one folder a class; optional train/, val/, test/ above them."),
        "archive_encoding": {
            "type": "string",
            "description": "Of names in the archive that do not say theirs, such as cp932, gbk, cp850 or cp1252.",
        },
        "root": {"type": "string", "description": "The folder of the archive in which classes or splits begin."},
        "manifest": _file("CSV or JSONL with file_name, label, optional split and group."),
        "on_error": {
            "enum": ["fail", "skip"],
            "default": "fail",
            "description": "skip: leave out images that cannot be read or have two labels, and say which.",
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
            "enum": list(modalities.choices(image)),
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
            "description": "Estimated seconds of one core that the race may take; more tries more candidates.",
        },
        "deploy": {
            "enum": ["auto", "manual"],
            "default": "auto",
            "description": "manual: make a version, move no alias.",
        },
    },
    ["head"],
    raw=False,
)


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
