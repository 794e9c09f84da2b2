"""The BentoML service: composition root and lifecycle. Public HTTP is FastAPI, mounted; see `service/api`.

`bentoml serve` imports this file twice, one process after the other: in its arbiter, which needs the class alone, and
in the process that serves. So the parts are imported when the service is made: a second less until it is ready.
"""

import functools
import gc
import logging
import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

# Objects before a look for garbage, instead of 700: imports make many and leave none, 0.25 s of looking in vain.
gc.set_threshold(50_000, 20, 50)

import bentoml  # noqa: E402
from bentoml.validators import ContentType  # noqa: E402

from service.access import exposure  # noqa: E402
from service.processes import priority, servers  # noqa: E402

if TYPE_CHECKING:
    from fastapi import FastAPI

    from service.access.principal import Principal
    from service.api.fast_path import FastPath
    from service.operations.tracing import Traces
    from service.settings import Settings

log = logging.getLogger("espalier.service")
# Seconds that a thread at work in Python keeps others waiting, instead of 5 ms: a request changes threads half a dozen
# times, and each change would wait that long behind the thread that checks an upload. At 0.5 ms 2 to 4 % fewer requests
# are answered by two cores (`what-bounds-speed`): lanes come out of the backbone and wait; 0.02 ms brings no more.
SWITCH = 0.0001
RETRY = 1.0  # seconds between tries to warm a backbone that is not built yet


@functools.cache
def http() -> "FastAPI":
    """The public HTTP API of this process."""
    from service.api import application

    return application.build()


async def http_app(scope: Any, receive: Any, send: Any) -> None:
    """The same as an ASGI application that costs nothing to import."""
    await http()(scope, receive, send)


@bentoml.service(
    name="espalier",
    workers=servers.count(),
    tracing={"excluded_urls": ".*"},  # nobody collects its spans
    # BentoML's own metrics label the raw path, which is a series for each head; ours are at /metrics.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
)
@bentoml.asgi_app(http_app, path="/")
class Espalier:
    """Serves every head. Ready once the default backbone is loaded and warm."""

    def __init__(self) -> None:
        from adapters.errors import NotReady
        from service.api.operations import gauges
        from service.context import Context
        from service.operations import logs, memory
        from service.settings import Settings, unknown

        sys.setswitchinterval(SWITCH)
        settings = Settings()
        logs.configure(settings.log_level, settings.log_format, unknown(os.environ))
        self.context = http().state.context = Context.open(settings, servers.here())
        try:
            self.context.warm()
        except NotReady as error:
            log.warning("%s; waiting for it", error)
            threading.Thread(target=self._keep_warming, daemon=True).start()
        http().state.bento = _described
        gauges.keep_current(self.context)
        memory.keep_giving_back()
        gc.freeze()  # what is there now stays: no look for garbage passes over it again, while requests wait

    @bentoml.on_deployment
    def prepare() -> None:
        """BentoML makes it a static method and calls it in its arbiter, before any process serves."""
        from service.operations import logs

        logs.configure_arbiter(os.environ)
        servers.prepare()
        priority.stay_in_session()
        if not exposure.is_local(host := exposure.of_command()):
            from service.settings import Settings

            exposure.refuse(host, Settings())

    def _keep_warming(self) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        from adapters.errors import NotReady

        stop = threading.Event()
        while not self.context.ready:
            stop.wait(RETRY)
            try:
                self.context.warm()
            except NotReady:
                continue
            except SQLAlchemyError:  # whose database is away for a moment
                log.warning("the database does not answer; looking for the backbone again")

    def __is_ready__(self) -> bool:
        return self.context.ready

    @bentoml.on_shutdown
    def close(self) -> None:
        """Let running requests end."""
        self.context.close()
        if (traces := _traces(self.context.settings)) is not None:
            traces.close()

    @bentoml.api(route="/bento/predict")
    def predict(self, image: Annotated[Path, ContentType("image/*")], head: str, top_k: int = 5) -> dict[str, Any]:
        """One image, one head: what `bentoml.SyncHTTPClient` and other Bento services learn from /schema.json.

        Answered by `service.api.inference.bento`, to which every request goes.
        """
        raise NotImplementedError


def _traces(settings: "Settings") -> "Traces | None":
    """What traces in this process, where it is to."""
    if not settings.tracing:
        return None
    from service.operations import tracing

    return tracing.begin()


def _described(what: Literal["schema", "openapi"]) -> Any:
    """The part that BentoML knows of, in its words."""
    described: Any = Espalier  # a bentoml.Service, which the decorator made of the class
    return described.schema() if what == "schema" else described.openapi_spec.asdict()


async def _authenticate(scope: Any) -> "Principal":
    """Whose a request is. Raises NotReady until the keys are read."""
    context = getattr(http().state, "context", None)
    if context is None:
        from adapters.errors import NotReady

        raise NotReady("the service is starting")
    found: Principal = await context.access(scope)
    return found


def _opened(part: str) -> Any:
    """A part of the context, once it is open; else None."""
    return getattr(getattr(http().state, "context", None), part, None)


class _Served(type(Espalier)):  # type: ignore[misc]
    """The service with our own way in, which BentoML has no setting for."""

    __slots__ = ()

    def to_asgi(self, is_main: bool = True) -> "FastPath":
        """Our way in before BentoML's, on connections of our own: it starts uvicorn, and sets no limits."""
        from service.access.authorization import Authorization
        from service.api.fast_path import FastPath
        from service.audit.address import Proxies
        from service.audit.trail import Trail
        from service.limits import connections, watch
        from service.settings import Settings

        settings = Settings()
        limits = watch.Limits.of(settings, servers.here().part(settings.max_connections))
        connections.install(limits, lambda: http().state.context.following.leave())
        names = settings.allowed_hosts.split(",")
        trail = Trail(lambda: _opened("engine"), Proxies(settings.trusted_proxies))
        return FastPath(
            super().to_asgi(is_main), http, names, Authorization(_authenticate), settings.drain_seconds, trail,
            lambda: _opened("limiter"), log=settings.access_log, traces=_traces(settings),
        )  # fmt: skip


Espalier.__class__ = _Served  # type: ignore[method-assign]
