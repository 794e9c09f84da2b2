"""Where a /predict spends processor time beside decoding and the backbone: the profile behind `serving` and `matrix`.

One process and no sockets: the same request goes to the whole application as `bentoml serve` runs it, to FastAPI alone
(as every other route is served), and to the function that both call. The image is remembered, so it is neither decoded
nor embedded; what is left is Python, and a trip to a lane and back. Each figure is microseconds of processor a request.
"""

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

import numpy as np

from adapters import predict as pipeline
from adapters.types import HeadRef
from benchmarks import photos, record, server, synthetic

HEAD = "layers"
ROUNDS, REQUESTS = 15, 150
QUICK = (2, 10)

Ask = Callable[[], Awaitable[Any]]


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    with server.prepared() as home:
        store = synthetic.Store.of(home)
        weight = np.random.default_rng(0).normal(0, 0.05, (store.backbone.dimension, 4)).astype(np.float32)
        made = synthetic.linear(store.backbone, HEAD, weight, np.zeros(4, np.float32), list("abcd"))
        synthetic.publish(store, [made])
        here = {"ESPALIER_HOME": str(home), "ESPALIER_EMBEDDING_CACHE_BYTES": "1000000", "BENTOML_DO_NOT_TRACK": "true"}
        os.environ |= here | {"ESPALIER_LOG_LEVEL": "warning"}
        results = asyncio.run(_measured(*(QUICK if quick else (ROUNDS, REQUESTS))))
    record.show(results)
    return results


async def _measured(rounds: int, requests: int) -> dict[str, Any]:
    from service import app as service

    espalier: Any = service.Espalier  # a service by its decorator, not the class
    whole = espalier.to_asgi()
    async with _Lifespan(whole):
        picture = photos.crops(1, 10, 224, 224)[0][0]
        predictor = service.http().state.context.predictor
        asks: dict[str, Ask] = {
            "whole_application": lambda: _post(whole, picture),
            "fastapi": lambda: _post(service.http(), picture),
            "function": lambda: pipeline.predict(predictor, [picture], [HeadRef(HEAD)], timeout=60.0),
        }
        times: dict[str, list[float]] = {name: [] for name in asks}
        for _ in range(rounds):
            for name, ask in asks.items():
                times[name].append(await _each(ask, requests))
    return {f"{name}_us": record.spread(found) for name, found in times.items()} | _shares(times)


async def _each(ask: Ask, requests: int) -> float:
    """Microseconds of processor a request, of all threads."""
    await ask()
    began = time.process_time()
    for _ in range(requests):
        await ask()
    return (time.process_time() - began) / requests * 1e6


def _shares(times: dict[str, list[float]]) -> dict[str, Any]:
    """What lies around the function, and what the long way would cost more."""
    whole, fastapi, function = (statistics.median(times[name]) for name in ("whole_application", "fastapi", "function"))
    return {"around_the_function_us": record.spread([whole - function]), "saved_us": record.spread([fastapi - whole])}


async def _post(app: Any, body: bytes) -> None:
    """One request to an ASGI application. Raises AssertionError unless it is answered with 200."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]
    statuses: list[int] = []

    async def receive() -> Any:
        return messages.pop() if messages else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    headers = [(b"host", b"127.0.0.1"), (b"content-type", b"image/jpeg"), (b"content-length", str(len(body)).encode())]
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
        "path": "/predict", "raw_path": b"/predict", "root_path": "", "query_string": f"head={HEAD}".encode(),
        "headers": headers, "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "state": {},
    }  # fmt: skip
    await app(scope, receive, send)
    assert statuses == [200], statuses


class _Lifespan:
    """Start and stop an ASGI application, as a server does."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._told: asyncio.Queue[Any] = asyncio.Queue()
        self._said: asyncio.Queue[Any] = asyncio.Queue()

    async def __aenter__(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self._running = asyncio.create_task(self._app(scope, self._told.get, self._said.put))
        await self._step("startup")

    async def __aexit__(self, *_: object) -> None:
        await self._step("shutdown")
        await self._running

    async def _step(self, name: str) -> None:
        await self._told.put({"type": f"lifespan.{name}"})
        assert (await self._said.get())["type"] == f"lifespan.{name}.complete"
