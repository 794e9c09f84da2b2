"""Spans of a worker are parts of the trace of the request that caused them, and say whose they are."""

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from adapters.store.leases import Lease
from adapters.store.scale_out.shards import Shard
from service.operations.tracing import Traces

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
WHOSE = {
    "espalier.job_id": "job_1", "espalier.tenant": "acme", "espalier.head": "cats", "espalier.request_id": "order-66",
}  # fmt: skip


@pytest.fixture
def kept() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def traces(kept: InMemorySpanExporter) -> Traces:
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    return Traces(provider)


def test_an_attempt_at_a_job_and_a_part_of_it_elsewhere_are_in_one_trace(traces, kept) -> None:
    with traces.job(Lease("job_1", "acme/cats", "t", 2, 0, 0, None, "order-66", PARENT)), traces.span("embed"):
        pass
    with traces.shard(Shard("job_1", 3, [["a" * 64, "a.png"]], ["centre"], "t", "acme/cats", "order-66", PARENT)):
        pass
    found = {span.name: span for span in kept.get_finished_spans()}
    assert {f"{span.context.trace_id:032x}" for span in found.values()} == {TRACE}
    assert {f"{found[name].parent.span_id:016x}" for name in ("finetune", "shard")} == {SPAN}
    assert found["embed"].parent.span_id == found["finetune"].context.span_id
    assert dict(found["finetune"].attributes) == WHOSE | {"espalier.attempt": 2}
    assert dict(found["shard"].attributes) == WHOSE | {"espalier.shard": 3, "espalier.inputs": 1}


def test_a_job_of_before_there_were_traces_has_one_of_its_own(traces, kept) -> None:
    with traces.job(Lease("job_1", "cats", "t", 1, 0, 0, None)):
        pass
    (span,) = kept.get_finished_spans()
    assert span.parent is None and "espalier.request_id" not in span.attributes
    assert span.attributes["espalier.tenant"] == "default"


@pytest.mark.parametrize("bad", ["", "00-" + "0" * 32 + f"-{SPAN}-01", "x" * 55])
def test_a_parent_that_is_none_begins_a_trace(traces, kept, bad) -> None:
    with traces.job(Lease("job_1", "cats", "t", 1, 0, 0, None, "r", bad)):
        pass
    assert kept.get_finished_spans()[0].parent is None
