"""The BentoML service: composition root and lifecycle. Public HTTP is FastAPI, mounted; see `service/api`.

`bentoml serve` imports this file twice, one process after the other: in its arbiter, which needs the class alone, and
in the process that serves. So the parts are imported when the service is made: 0.7 s less until it is ready.
"""

import functools
import gc
import logging
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

# Objects before a look for garbage, instead of 700: imports make many and leave none, 0.25 s of looking in vain.
gc.set_threshold(50_000, 20, 50)

import bentoml  # noqa: E402
from bentoml.validators import ContentType  # noqa: E402

from service import processes  # noqa: E402
from service.express import Express  # noqa: E402

if TYPE_CHECKING:
    from fastapi import FastAPI

log = logging.getLogger("espalier.service")
# Seconds that a thread at work in Python keeps others waiting, instead of 5 ms: a request changes threads half a dozen
# times, and each change would wait that long behind the thread that checks an upload.
SWITCH = 0.0005
UNWANTED = ("TimeoutMiddleware", "OpenTelemetryMiddleware")
RETRY = 1.0  # seconds between tries to warm a backbone that is not built yet


@functools.cache
def http() -> "FastAPI":
    """The public HTTP API of this process."""
    from service import api

    return api.build()


async def door(scope: Any, receive: Any, send: Any) -> None:
    """The same as an ASGI application that costs nothing to import."""
    await http()(scope, receive, send)


@bentoml.service(
    name="espalier",
    workers=processes.count(),
    tracing={"excluded_urls": ".*"},  # nobody collects its spans
    # BentoML's own metrics label the raw path, which is a series for each head; ours are at /metrics.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(door, path="/")
class Espalier:
    """Serves every head. Ready once the default backbone is loaded and warm."""

    def __init__(self) -> None:
        from adapters.errors import NotReady
        from service import telemetry
        from service.context import Context
        from service.settings import Settings

        self._ready = threading.Event()
        sys.setswitchinterval(SWITCH)
        settings = Settings()
        telemetry.configure_logging(settings.log_level)
        self.context = http().state.context = Context.open(settings, processes.here())
        try:
            self.context.warm()
            self._ready.set()
        except NotReady as error:
            log.warning("%s; waiting for it", error)
            threading.Thread(target=self._keep_warming, daemon=True).start()
        telemetry.keep_current(self.context)
        gc.freeze()  # what is there now stays: no look for garbage passes over it again, while requests wait

    @bentoml.on_deployment
    def prepare() -> None:
        """BentoML makes it a static method and calls it in its arbiter, before any process serves."""
        processes.prepare()

    def _keep_warming(self) -> None:
        from adapters.errors import NotReady

        stop = threading.Event()
        while not self._ready.is_set():
            stop.wait(RETRY)
            try:
                self.context.warm()
                self._ready.set()
            except NotReady:
                continue

    def __is_ready__(self) -> bool:
        return self._ready.is_set()

    @bentoml.on_shutdown
    def close(self) -> None:
        """Let running requests end."""
        self.context.close()

    @bentoml.api(route="/bento/predict")
    async def predict(
        self, image: Annotated[Path, ContentType("image/*")], head: str, top_k: int = 5
    ) -> dict[str, Any]:
        """The native facade, so that `bentoml.SyncHTTPClient` and other Bento services can ask one head."""
        from adapters import predict as pipeline
        from service import forms
        from service.schemas import PredictResponse

        refs = [forms.head_ref(head)]
        seconds = self.context.settings.predict_seconds
        images = [image.read_bytes()]
        result = await pipeline.predict(self.context.predictor, images, refs, top_k=top_k, timeout=seconds)
        return PredictResponse.plain(result)


class _Served(type(Espalier)):  # type: ignore[misc]
    """The service with our own way in, which BentoML has no setting for."""

    __slots__ = ()

    def to_asgi(self, is_main: bool = True) -> Express:
        """Without two of BentoML's middlewares, and with the short way before the others.

        Its timeout cannot be turned off: it cuts long uploads after a minute, not as problem+json, and leaves a timer
        behind for each request until its time is up. Its tracing is off (`excluded_urls`), but still reads each URL.
        """
        app = super().to_asgi(is_main)
        app.user_middleware = [m for m in app.user_middleware if m.cls.__name__ not in UNWANTED]
        app.router.default = door  # a mount matches no path with a line break in it; nor shall that get another form
        return Express(app, http, _allowed_hosts())


def _allowed_hosts() -> list[str]:
    from service.settings import Settings

    return Settings().allowed_hosts.split(",")


Espalier.__class__ = _Served  # type: ignore[method-assign]
