"""ONE table: error class → (status, title). Everything that goes wrong leaves as RFC 9457 problem+json."""

import logging
import math
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DatabaseError, InterfaceError, OperationalError, TimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from adapters import errors
from adapters.problems import listed
from adapters.store.heads import AliasMoved
from service import telemetry
from service.access.refusals import Forbidden, TooManyAttempts, Unauthorized
from service.operations import requests

log = logging.getLogger("espalier.http")

# First match by inheritance, most special first.
TABLE: dict[type[errors.EspalierError], tuple[int, str]] = {
    errors.TooLarge: (413, "The request is too large"),
    errors.WrongModality: (422, "The head reads other inputs"),
    errors.InvalidImage: (422, "Not a usable image"),
    errors.ImageTooLarge: (422, "The image has too many pixels"),
    errors.InvalidText: (422, "Not a usable text"),
    errors.TextTooLong: (422, "The text has too many characters"),
    errors.InvalidArchive: (422, "Not a usable archive"),
    errors.InvalidManifest: (422, "Not a usable manifest"),
    errors.InvalidLabel: (422, "Not a usable label"),
    errors.NotEnoughData: (422, "Not enough data to train and measure a head"),
    errors.TooMuchData: (422, "More examples than the worker has the memory or the room to train on"),
    errors.NotEnoughHeldOut: (422, "Too few held-out examples for that promise"),
    errors.InvalidHyperparameter: (422, "Not a usable hyperparameter"),
    errors.InvalidBackup: (422, "Not a usable backup"),
    errors.InvalidInput: (422, "The request cannot be used"),
    errors.KeyNotFound: (404, "No such key"),
    errors.HeadNotFound: (404, "No such head"),
    errors.VersionNotFound: (404, "No such version"),
    errors.ExampleNotFound: (404, "No such example"),
    errors.LabelNotFound: (404, "No such class"),
    errors.ReportNotFound: (404, "No report"),
    errors.BackboneNotFound: (404, "No such backbone"),
    errors.JobNotFound: (404, "No such job"),
    errors.RolloutNotFound: (404, "No such roll-out"),
    errors.SampleNotFound: (404, "No such sample"),
    errors.NotFound: (404, "Nothing by that name"),
    errors.IdempotencyConflict: (422, "The Idempotency-Key came with another body"),
    AliasMoved: (409, "The alias moved meanwhile"),
    errors.ExamplesNotKept: (409, "The head's examples were not kept"),
    errors.Conflict: (409, "The request clashes with the present state"),
    Unauthorized: (401, "A key or a token is needed"),
    Forbidden: (403, "Not with this key"),
    TooManyAttempts: (429, "Too many wrong keys"),
    errors.Cancelled: (409, "The job was cancelled"),
    errors.RateLimited: (429, "Too many requests"),
    errors.QuotaExceeded: (429, "More than may be had"),
    errors.Overloaded: (429, "Too much work is waiting"),
    errors.DeadlineExceeded: (504, "Not answered in time"),
    errors.CandidateFailed: (503, "The candidate of a roll-out could not answer"),
    errors.NotReady: (503, "Not ready yet"),
    errors.StaleReplica: (409, "No such state yet"),
    errors.StorageFull: (507, "The store is full"),
    errors.StorageError: (503, "The store does not answer"),
    errors.HeadDamaged: (503, "The head is damaged"),
    errors.BackboneDamaged: (503, "The backbone is damaged"),
    errors.ExampleDamaged: (503, "The example is damaged"),
    errors.DatabaseDamaged: (503, "The database is damaged"),
    errors.CorruptArtifact: (503, "A stored blob is damaged"),
    errors.ParityError: (500, "The exported graph answers differently"),
    errors.DeviceError: (500, "The compute device cannot be used"),
    errors.EspalierError: (500, "Something went wrong on our side"),
}
EXPECTED = (errors.NotReady, errors.DeadlineExceeded)  # 5xx that need nobody's attention
RETRYABLE = {429: 1.0, 503: 1.0}  # seconds, unless the error knows better
MENDING = 30.0  # seconds until it is worth to ask again for what somebody has to mend


def status_of(error: errors.EspalierError) -> tuple[int, str]:
    """The status and title of an error: its own row, or that of the nearest class above it."""
    return next(TABLE[kind] for kind in type(error).__mro__ if kind in TABLE)


def problem(status: int, title: str, detail: str, code: str, **more: Any) -> JSONResponse:
    """An RFC 9457 answer; `code` is stable, `detail` is for people."""
    body: dict[str, Any] = {
        "type": f"urn:espalier:error:{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
    }
    body |= {key: value for key, value in more.items() if value is not None}
    origin = requests.current()
    body["request_id"] = requests.new_id() if origin is None else origin.request_id
    response = JSONResponse(body, status, media_type="application/problem+json")
    response.headers["X-Request-Id"] = body["request_id"]
    if status in RETRYABLE:
        response.headers["Retry-After"] = str(math.ceil(more.get("retry_after") or RETRYABLE[status]))
    return response


def install(app: FastAPI) -> None:
    """Make every error of an app leave as problem+json."""
    for kind, handler in _HANDLERS.items():
        app.add_exception_handler(kind, handler)


async def respond(request: Request, error: Exception) -> JSONResponse:
    """The same for one error, where no app is in between."""
    return await next(_HANDLERS[kind] for kind in type(error).__mro__ if kind in _HANDLERS)(request, error)


async def _espalier(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, errors.EspalierError)
    status, title = status_of(error)
    if status >= 500 and not isinstance(error, EXPECTED):
        # Of bytes that are not as they were stored, where we came upon them says nothing.
        log.error("%s: %s", error.code, error, exc_info=None if isinstance(error, errors.CorruptArtifact) else error)
    mending = MENDING if isinstance(error, errors.CorruptArtifact) else None
    retry_after = getattr(error, "retry_after", mending)
    more = {"item": error.item, "retry_after": retry_after} | listed(error)
    if isinstance(error, errors.QuotaExceeded):
        more |= {"limit": error.limit, "used": error.used}
    response = problem(status, title, error.message, error.code, **more)
    if status == 401:
        response.headers["WWW-Authenticate"] = _challenge(request)
    return response


def _challenge(request: Request) -> str:
    """A browser asks its user for a password where it is asked for Basic; the key is the password."""
    basic = 'Basic realm="Espalier: the key is the password", charset="UTF-8"'
    return basic if "text/html" in request.headers.get("accept", "") else 'Bearer realm="Espalier"'


async def _database(request: Request, error: Exception) -> JSONResponse:
    """Away, locked by somebody, or slower than a request may wait: no fault of the caller's or of the code's.

    Nothing of the driver's words goes out: they have addresses and statements in them.
    """
    if _is_full(error):
        full = errors.StorageFull("no space left on this server to write the database; try again later")
        return await _espalier(request, full)
    telemetry.DATABASE_AWAY.inc()
    log.warning("the database did not answer %s %s: %s", request.method, request.url.path, _reason(error))
    detail = "the database does not answer, or somebody else holds it; try again shortly"
    return problem(503, "The database does not answer", detail, "database_unavailable")


async def _damaged(request: Request, error: Exception) -> JSONResponse:
    """What SQLite says of a file with a damaged page in it; what else it may be, nobody expected."""
    if not any(words in str(getattr(error, "orig", "")) for words in ("malformed", "not a database")):
        return await _unexpected(request, error)
    said = "the database of this server is damaged; its operator learns from `espalier check` what can be done"
    return await _espalier(request, errors.DatabaseDamaged(said))


def _reason(error: Exception) -> str:
    """What the driver says, for the log, on one line and without the statement."""
    return str(getattr(error, "orig", None) or error).strip().partition("\n")[0][:300]


def _is_full(error: Exception) -> bool:
    return any(words in str(getattr(error, "orig", "")).lower() for words in ("is full", "no space left"))


async def _validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    # An option has one name; behind it pydantic says which of several types it tried. A key of the body may be in it:
    # of any length, and with halves of surrogate pairs, which no answer can carry.
    parts = first["loc"][1:] if first["loc"][0] == "body" else first["loc"][1:2]
    where = ".".join(str(part) for part in parts)[:200].encode("utf-8", "replace").decode()
    return problem(422, "The request cannot be used", f"{where}: {first['msg']}", "invalid_input", item=where)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    title = HTTPStatus(error.status_code).phrase
    if error.status_code == 404:
        detail, code = f"there is nothing at {request.url.path}; /docs lists every route", "route_not_found"
    else:
        detail, code = str(error.detail), title.lower().replace(" ", "_")
    response = problem(error.status_code, title, detail, code)
    response.headers.update(error.headers or {})
    return response


async def _gone(_: Request, error: Exception) -> JSONResponse:
    return problem(400, "The client left", "the connection closed before the body was complete", "client_left")


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("unexpected error at %s %s", request.method, request.url.path, exc_info=error)
    return problem(
        500, TABLE[errors.EspalierError][1], "an unexpected error; the server's log has it", "internal_error"
    )


_HANDLERS: dict[Any, Callable[[Request, Exception], Awaitable[JSONResponse]]] = {
    errors.EspalierError: _espalier,
    DatabaseError: _damaged,
    OperationalError: _database,
    InterfaceError: _database,
    TimeoutError: _database,
    RequestValidationError: _validation,
    HTTPException: _http,
    ClientDisconnect: _gone,
    Exception: _unexpected,
}
