"""Traces by OpenTelemetry: from a request through its job into the worker. ESPALIER_TRACING turns them on; where they
go, which are kept and what the service is called, the standard OTEL_* variables say.

Nothing of OpenTelemetry is imported before they are on. Spans are named by routes and steps; a span has the ids that
log lines have, and nothing of a header, a query or a body.
"""

import functools
import importlib.util
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any, cast

from adapters import spans
from adapters.errors import InvalidInput
from adapters.store.leases import Lease
from adapters.store.scale_out.shards import Shard
from service import __version__
from service.operations import logs
from service.operations.requests import Origin, Scope

NAME = "espalier"
SERVER_ERROR = 500


class Traces:
    """The way of spans out of this process; it tells `adapters.spans`, too."""

    def __init__(self, provider: Any) -> None:
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._context, self._trace, self._provider = context, trace, provider
        self._tracer = provider.get_tracer(NAME, __version__)
        self._propagator = TraceContextTextMapPropagator()

    def span(self, name: str) -> AbstractContextManager[Any]:
        """A step of what is being done, or no span where nothing is."""
        if not self._trace.get_current_span().is_recording():
            return spans.NOTHING
        return cast(AbstractContextManager[Any], self._tracer.start_as_current_span(name))

    def here(self) -> object:
        """The context of what is being done; None where it is not recorded."""
        return self._context.get_current() if self._trace.get_current_span().is_recording() else None

    def record(self, parent: object, name: str, seconds: float) -> None:
        """A step that ended now."""
        end = time.time_ns()
        self._tracer.start_span(name, parent, start_time=end - int(seconds * 1e9)).end(end)

    @contextmanager
    def request(self, scope: Scope, origin: Origin) -> Iterator["Request"]:
        """Around one request: a part of its caller's trace, or a trace of its own."""
        kind, attributes = self._trace.SpanKind.SERVER, {"http.request.method": scope["method"]}
        attributes |= {"url.path": scope["path"][:500], "espalier.request_id": origin.request_id}
        with self._tracer.start_as_current_span(
            scope["method"], self._parent(origin.traceparent), kind, attributes
        ) as span:
            found = Request(span, replace(origin, traceparent=self._traceparent() or origin.traceparent))
            yield found
            found.name(scope)

    def job(self, lease: Lease) -> AbstractContextManager[None]:
        """Around an attempt at a job: a part of the trace of the request that it was accepted by."""
        return self._work("finetune", lease, {"espalier.attempt": lease.attempt})

    def shard(self, shard: Shard) -> AbstractContextManager[None]:
        """Around a part of another worker's job, likewise."""
        return self._work("shard", shard, {"espalier.shard": shard.position, "espalier.inputs": len(shard.inputs)})

    @contextmanager
    def _work(self, name: str, job: logs.Job, attributes: dict[str, Any]) -> Iterator[None]:
        attributes |= {f"espalier.{key}": value for key, value in logs.of_job(job).items() if value is not None}
        kind = self._trace.SpanKind.CONSUMER
        with self._tracer.start_as_current_span(name, self._parent(job.traceparent), kind, attributes):
            yield

    def close(self) -> None:
        """Send what is left."""
        self._provider.shutdown()

    def _parent(self, traceparent: str | None) -> Any:
        """Never what happens to be under way in this thread."""
        empty = self._context.Context()
        return empty if traceparent is None else self._propagator.extract({"traceparent": traceparent}, empty)

    def _traceparent(self) -> str | None:
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent")


class Request:
    """The span of one request."""

    def __init__(self, span: Any, origin: Origin) -> None:
        self._span, self.origin = span, origin

    def answered(self, status: int) -> None:
        """It has got its answer."""
        self._span.set_attribute("http.response.status_code", status)
        if "tenant" in (who := logs.caller()):
            self._span.set_attribute("espalier.tenant", who["tenant"])
        if status >= SERVER_ERROR:
            from opentelemetry.trace import StatusCode

            self._span.set_status(StatusCode.ERROR)

    def name(self, scope: Scope) -> None:
        """By the route that answered: names must be few."""
        path = getattr(scope.get("route"), "path", None) or (scope["path"] if scope["path"] == "/predict" else None)
        if path is not None:
            self._span.update_name(f"{scope['method']} {path}")
            self._span.set_attribute("http.route", path)


def require() -> None:
    """Raises InvalidInput where the exporter is not installed: who asked for traces learns it at the start."""
    try:
        found = importlib.util.find_spec("opentelemetry.exporter.otlp.proto.http.trace_exporter")
    except ModuleNotFoundError:
        found = None
    if found is None:
        fix = "in a checkout of Espalier: pip install -e '.[otel]'"
        raise InvalidInput(f"ESPALIER_TRACING needs the extra `otel`; {fix}", item="otel")


@functools.cache
def begin() -> Traces:
    """Trace from now on. Raises InvalidInput where the exporter is not installed."""
    require()
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    resource = Resource.create()
    if str(resource.attributes.get(SERVICE_NAME, "")).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: NAME}))
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    traces = Traces(provider)
    spans.follow(traces)
    return traces
