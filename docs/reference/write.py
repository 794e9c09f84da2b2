"""Writes the tables of this folder from the code: `python docs/reference/write.py`. A test fails when they differ."""

import inspect
from pathlib import Path

from pydantic import BaseModel

from adapters import errors, recipe, tasks
from adapters import methods as training_methods
from adapters.backbones.parts import MOST
from adapters.modalities import image
from adapters.training.embedding.views import FEW
from service import telemetry
from service.api import application
from service.errors import status_of
from service.settings import Settings

HERE = Path(__file__).parent


SETTINGS = """# Settings

Environment variables, read once when a process starts. Server, worker and command line read the same ones; containers
need nothing else.

| variable | default | what it does |
|---|---|---|"""

SEVERAL = """`ESPALIER_THREADS`, `ESPALIER_MAX_WAITING`, `ESPALIER_MAX_WAITING_BYTES`, `ESPALIER_MAX_CONNECTIONS`,
`ESPALIER_MAX_UPLOAD_BYTES`, `ESPALIER_HEAD_CACHE_BYTES` and `ESPALIER_EMBEDDING_CACHE_BYTES` are for all serving
processes behind the port together: each of `ESPALIER_SERVERS` takes its part."""

METRICS = """# Metrics

Prometheus, at `/metrics`. No label carries a head's name or a path; those with a tenant's have at most 200 of them for
each process. Where several processes serve (`ESPALIER_SERVERS`), whichever is asked answers for all: counters,
histograms and gauges are their sums, but `espalier_generation` is the least of theirs and `espalier_waiting_seconds`
the most. What a process has is then up to a second old, and one that is replaced counts on where it stopped.

| metric | type | meaning |
|---|---|---|"""

METHODS = """# Methods

How a head can be trained: `method` of `POST /finetune`, with `hyperparameters` as a JSON object. `GET /methods` has the
same as JSON schemas. `auto` races all that suit the data within `budget` and takes the best by calibrated loss on
examples that the candidate was not fitted on."""

DEEP = """Trains the backbone's last part with the head, from the winner of the race on the frozen backbone: see
[training the backbone, too](../guides/teach.md#training-the-backbone-too). `auto` leaves it to a next stage."""

VIEWS = f"""## Views

What a head may be trained on beside each image: `views` of `POST /finetune`. `auto` lets candidates with the first of
these race against candidates without, up to {FEW} images; `none` takes none. What is served, and what every figure is
measured on, is the plain image.

| `views` | rows beside each image |
|---|---|"""

READS = f"""## Parts of an embedding

What a head reads of what the backbone tells: `reads` of `POST /finetune`. A backbone with taps tells what its earlier
blocks saw in the same pass ([taps](../concepts/how-a-head-is-made.md#taps)); one from before there were any has the
first part only. `auto` lets candidates that read the one and the other race, up to {MOST:,} numbers (examples × numbers
of an embedding); beyond, it takes `pooled`, for memory's sake.

| `reads` | what of it |
|---|---|
| `pooled` | the first part: the last layer, averaged |
| `taps` | all of it: the last layer, and behind it statistics of the ends of earlier blocks |"""

ERRORS = """# Errors

Every error is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail` for people, a stable `code`
for programs, and `item` where one thing is at fault. 429 and 503 carry `Retry-After`; `request_id`
is the answer's `X-Request-Id`. A job that fails has the same `code`, `message` and `item` in its `error`.

Where items of a request are at fault (images, labels, lines of a manifest, members of an archive, classes), `errors`
has every one of them, `{"item", "code", "detail"}`, at most 50, and `error_count` says how many there are.

| code | status | meaning |
|---|---|---|"""


def settings() -> str:
    """Every environment variable."""
    lines = [SETTINGS]
    for name, field in Settings.model_fields.items():
        default = "" if field.default in ("", None) else f"`{field.default}`"
        lines.append(f"| `ESPALIER_{name.upper()}` | {default} | {field.description} |")
    lines += [
        "",
        SEVERAL,
        "",
        "`ESPALIER_SERVER` and `ESPALIER_KEY` are the command line's own: the defaults of `--server` and `--key`. A "
        "variable that begins like these and is none of them is named in the log when a process starts.",
        "",
    ]
    return "\n".join(lines)


def error_codes() -> str:
    """Every error code with its status."""
    lines = [ERRORS]
    rows = {}
    for kind in _subclasses(errors.EspalierError):
        status, _ = status_of(kind("x"))
        rows[kind.code] = f"| `{kind.code}` | {status} | {(inspect.getdoc(kind) or '').splitlines()[0]} |"
    lines += [rows[code] for code in sorted(rows)]
    lines += [
        "| `route_not_found` | 404 | There is nothing at that path. |",
        "| `method_not_allowed` | 405 | The path exists, the HTTP method does not. |",
        "| `host_not_allowed` | 403 | The service is not asked by that name; ESPALIER_ALLOWED_HOSTS allows others. |",
        "| `cross_site` | 403 | A web page of another origin or site may change nothing. |",
        "| `client_left` | 400 | The connection closed before the body was complete. |",
        "| `malformed_request` | 400 | What came is no HTTP request. |",
        "| `request_timeout` | 408 | Too slow: ESPALIER_HEADER_SECONDS, ESPALIER_MIN_BODY_RATE. |",
        "| `address_too_long` | 414 | Address and headers are over ESPALIER_MAX_HEADER_BYTES. |",
        "| `headers_too_large` | 431 | The same, where it is the headers. |",
        "| `too_many_connections` | 503 | There are more than ESPALIER_MAX_CONNECTIONS, and none is idle. |",
        "| `database_unavailable` | 503 | The database did not answer in ESPALIER_DATABASE_SECONDS, or is locked. |",
        "| `worker_lost` | job | The worker died again and again while at work on the job. |",
        "",
    ]
    return "\n".join(lines)


def routes() -> str:
    """Every route."""
    lines = ["# HTTP routes", "", "`/docs` on a running server has the bodies and tries them out.", ""]
    lines += ["| method | path | what it does |", "|---|---|---|"]
    for path, operations in sorted(application.build().openapi()["paths"].items()):
        for method, operation in operations.items():
            summary = operation.get("description", "").partition("\n\n")[0].replace("\n", " ")
            lines.append(f"| {method.upper()} | `{path}` | {summary} |")
    lines += [
        "| GET | `/schema.json`, `/docs.json` | What BentoML's clients learn `/bento/predict` from. |",
        "",
    ]
    return "\n".join(lines)


def metrics() -> str:
    """Every metric."""
    lines = [METRICS]
    for family in telemetry.REGISTRY.collect():
        name = f"{family.name}_total" if family.type == "counter" else family.name
        lines.append(f"| `{name}` | {family.type} | {family.documentation} |")
    return "\n".join([*lines, ""])


def methods() -> str:
    """Every method and its hyperparameters."""
    lines = [METHODS, *_deep()]
    for name in training_methods.names():
        method = training_methods.get(name)
        lines += ["", f"## {name}", "", (inspect.getdoc(method) or "").partition("\n\n")[0].replace("\n", " "), ""]
        able = [task for task in tasks.names() if tasks.get(task).OBJECTIVE in method.OBJECTIVES]
        lines += [f"For {', '.join(able)}.", "", "| hyperparameter | default | meaning |", "|---|---|---|"]
        lines += _hyperparameters(method.Hyperparameters)
    lines += ["", VIEWS, *(f"| `{choice}` | {', '.join(names)} |" for choice, names in image.VIEWS.items())]
    return "\n".join([*lines, "", READS, ""])


def _deep() -> list[str]:
    """The method that is none of the race's."""
    lines = ["", "## deep", "", DEEP, "", f"For {', '.join(tasks.names())}.", ""]
    return [
        *lines,
        "| hyperparameter | default | meaning |",
        "|---|---|---|",
        *_hyperparameters(recipe.Hyperparameters),
    ]


def _hyperparameters(model: type[BaseModel]) -> list[str]:
    return [f"| `{key}` | `{field.default}` | {field.description} |" for key, field in model.model_fields.items()]


def _subclasses(kind: type) -> list[type]:
    return [kind, *(s for child in kind.__subclasses__() for s in _subclasses(child))]


PAGES = {"settings.md": settings, "errors.md": error_codes, "routes.md": routes, "metrics.md": metrics}
PAGES["methods.md"] = methods

if __name__ == "__main__":
    for name, write in PAGES.items():
        (HERE / name).write_text(write())
