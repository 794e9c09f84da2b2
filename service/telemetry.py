"""Metric names. No label carries a head's or a path's name: cardinality is bounded."""

from collections.abc import Mapping
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from adapters.monitoring.sampler import OUTCOMES as SAMPLED
from adapters.monitoring.watch import KINDS, LEVELS
from adapters.runtime.meters import Meters
from service.processes import metric_files

metric_files.begin()
REGISTRY = CollectorRegistry()
_LAG_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_STEP_SECONDS = (0.0001, 0.0003, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 4)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)
RATES, QUOTAS, OUTCOMES = ("requests", "inputs"), ("heads", "examples", "bytes", "jobs"), ("done", "refused", "failed")


def _counter(name: str, about: str, label: str = "", values: tuple[str, ...] = ()) -> Counter:
    """With a label, all of its values are there from the start, so that a rate of one is 0 and not nothing."""
    made = Counter(f"espalier_{name}", about, [label] if label else [], registry=REGISTRY)
    for value in values:
        made.labels(value)
    return made


def _gauge(name: str, about: str, of_several: Literal["sum", "min", "max", "mostrecent"] = "sum") -> Gauge:
    return Gauge(f"espalier_{name}", about, registry=REGISTRY, multiprocess_mode=of_several)


def _histogram(name: str, about: str, buckets: tuple[float, ...] = _STEP_SECONDS) -> Histogram:
    return Histogram(f"espalier_{name}", about, buckets=buckets, registry=REGISTRY)


REQUESTS = _counter("predict_requests", "Answered /predict requests.")
INPUTS = _counter("predict_inputs", "Inputs in answered /predict requests.")
ANSWERS = _counter("predictions", "Predictions given (inputs × heads).")
SECONDS = _histogram("predict_seconds", "From the first byte of a /predict body to its answer.", _SECONDS)

WAITING = _gauge(
    "inputs_waiting", "Inputs that were admitted and are not answered: they wait for a lane or are in one."
)
WAITING_SECONDS = _gauge(
    "waiting_seconds", "How long the inputs that wait will take, estimated: what a new one waits at most.", "max"
)
WAITING_BYTES = _gauge("waiting_bytes", "Bytes of the bodies that bring inputs and are not answered.")
REJECTED = _counter("requests_rejected", "Requests with inputs refused with 429 because too much waits.")
EXPIRED = _counter("requests_expired", "Requests with inputs that ended with 504 because their time was up.")
DROPPED = _counter("inputs_dropped", "Inputs not embedded because whoever sent them had left, or its time was up.")
SHARED = _counter("inputs_shared", "Inputs whose embedding was under way already for another request.")

QUEUE_SECONDS = _histogram("queue_seconds", "From the admission of an input until a lane takes it.")
DECODE_SECONDS = _histogram("decode_seconds", "Decoding one input.")
BACKBONE_SECONDS = _histogram("backbone_seconds", "One pass through a backbone.")
BATCH_INPUTS = _histogram("batch_inputs", "Inputs in a pass through a backbone.", _BATCHES)
HEAD_SECONDS = _histogram("head_seconds", "Running all shallow heads of a request on its embeddings.")
TAIL_SECONDS = _histogram("tail_seconds", "One run of a deep head: its part of the backbone, and its answers.")
CACHE_HITS = _counter("embedding_cache_hits", "Inputs whose embedding serving remembered.")
CACHE_MISSES = _counter("embedding_cache_misses", "Inputs whose embedding it did not remember.")
CACHE_BYTES = _gauge("embedding_cache_bytes", "Bytes of remembered embeddings.")

REPLICAS = _gauge("replicas", "Serving processes that live, on all machines.", "mostrecent")
REPLICAS_BEHIND = _gauge(
    "replicas_behind", "Those of them that serve an older state of the heads than the newest.", "mostrecent"
)
GENERATION = _gauge("generation", "Changes to what is served that every serving process has seen.", "min")
HEADS_LOADED = _gauge("heads_loaded", "Heads in memory.")
HEAD_BYTES = _gauge("head_bytes", "Memory that they take, bytes, estimated.")
HEAD_LOADS = _counter("head_loads", "Heads loaded since the service started.")
HEAD_EVICTIONS = _counter("head_evictions", "Heads evicted since the service started.")
CONNECTIONS = _gauge("connections", "Connections of clients.")
CUT = Counter(
    "espalier_connections_refused",
    "Connections and requests that were ended for what they cost: head_time, head_bytes, body_rate, read_rate, idle, "
    "surplus, malformed.",
    ["reason"],
    registry=REGISTRY,
)
for _reason in ("head_time", "head_bytes", "body_rate", "read_rate", "idle", "surplus", "malformed"):
    CUT.labels(_reason)  # there from the start, so that a rate of it is 0 and not nothing
UPLOAD_BYTES = _gauge("upload_bytes", "Bytes of forms and JSON bodies that are received or worked on.")
TEMPORARY_BYTES = _gauge("upload_temporary_bytes", "Those of them that lie in temporary files.")
LAG = _histogram(
    "loop_lag_seconds",
    "How much later than due the event loop came to a task, looked at ten times a second.",
    _LAG_SECONDS,
)
DATABASE_AWAY = _counter("database_unavailable", "Requests that ended with 503 because the database did not answer.")
WORK_WAITING = _gauge(
    "work_waiting",
    "Fine-tune jobs, and parts of large ones, that a worker could take up now, next stages not counted; at most 1,000 "
    "parts are counted.",
    "mostrecent",
)
JOBS_RUNNING = _gauge(
    "jobs_running", "Fine-tune jobs that a worker is at work on, next stages among them.", "mostrecent"
)
JOBS_UNFINISHED = _gauge("jobs_unfinished", "Fine-tune jobs that wait or run, next stages not counted.", "mostrecent")
NEXT_STAGES_UNFINISHED = _gauge(
    "next_stages_unfinished", "Next stages of jobs, for which nobody waits, that wait or run.", "mostrecent"
)

ROLLOUT_REQUESTS = Counter(
    "espalier_rollout_requests",
    "Requests of heads that are rolled out, by who answered: live, candidate, failed (live for the candidate).",
    ["arm"],
    registry=REGISTRY,
)
COMPARISONS = Counter(
    "espalier_rollout_comparisons",
    "Inputs that both versions of a roll-out were asked, by outcome: agreed, disagreed, dropped (too many at once).",
    ["outcome"],
    registry=REGISTRY,
)
ROLLOUTS_ENDED = Counter(
    "espalier_rollouts_ended",
    "Roll-outs that ended by their rules: promoted, rolled_back, stopped (live was moved).",
    ["status"],
    registry=REGISTRY,
)
for _metric, _values in (
    (ROLLOUT_REQUESTS, ("live", "candidate", "failed")),
    (COMPARISONS, ("agreed", "disagreed", "dropped")),
    (ROLLOUTS_ENDED, ("promoted", "rolled_back", "stopped")),
):
    for _value in _values:
        _metric.labels(_value)
DRIFTING = Gauge(
    "espalier_drift_versions",
    "Versions that answered something here in a day, by how far that is from what was taught: kind labels or novelty, "
    "level none, moderate, major, unknown.",
    ["kind", "level"],
    registry=REGISTRY,
    multiprocess_mode="mostrecent",
)
ROLLOUTS = _gauge("rollouts_running", "Roll-outs under way, of heads that this replica was asked for.", "mostrecent")
SAMPLES = _counter(
    "samples",
    "Hard inputs of heads that keep them, by what became of them: kept, passed_over (known, alike or less hard), "
    "queue_full, no_room (quota of bytes), failed (the database or the store was away).",
    "outcome",
    SAMPLED,
)
DEFAULT_TENANT = "(default)"  # the one without a name; another tenant may be called "default"
TENANT_REQUESTS = _counter(
    "tenant_requests",
    "Requests that were let in, by tenant: the first 200 that a process meets by name, the rest as (others), "
    "the one without a name as (default).",
    "tenant",
    (DEFAULT_TENANT,),
)
TENANT_INPUTS = _counter(
    "tenant_inputs", "Inputs that were let in to be embedded or predicted, by tenant.", "tenant", (DEFAULT_TENANT,)
)
RATE_LIMITED = _counter("rate_limited", "Requests refused with 429 for their rate: requests, inputs.", "limit", RATES)
AUTHENTICATION_FAILURES = _counter(
    "authentication_failures",
    "Keys and tokens that were not valid: refused with 401; limited with 429, as too many came from one address.",
    "outcome",
    ("refused", "limited"),
)
QUOTA_EXCEEDED = _counter("quota_exceeded", "Jobs refused with 429 for a quota.", "quota", QUOTAS)
AUDITED = _counter("audit_rows", "Rows of the audit log by this service's requests.", "outcome", OUTCOMES)
AUDIT_OMITTED = _counter("audit_omitted", "Refused changes of which too many came to have rows of their own.")


def _drifting(counts: Mapping[tuple[str, str], int]) -> None:
    for kind in KINDS:
        for level in LEVELS:
            DRIFTING.labels(kind, level).set(counts.get((kind, level), 0))


_drifting({})
METERS = Meters(
    queue_seconds=QUEUE_SECONDS.observe, decode_seconds=DECODE_SECONDS.observe,
    backbone_seconds=BACKBONE_SECONDS.observe, batch_inputs=BATCH_INPUTS.observe, head_seconds=HEAD_SECONDS.observe,
    tail_seconds=TAIL_SECONDS.observe,
    rejected=REJECTED.inc, expired=EXPIRED.inc, dropped=DROPPED.inc, shared=SHARED.inc,
    cache_hit=CACHE_HITS.inc, cache_miss=CACHE_MISSES.inc,
    head_loaded=HEAD_LOADS.inc, head_evicted=HEAD_EVICTIONS.inc,
    rollout_request=lambda arm: ROLLOUT_REQUESTS.labels(arm).inc(),
    compared=lambda disagreed: COMPARISONS.labels("disagreed" if disagreed else "agreed").inc(),
    comparison_dropped=COMPARISONS.labels("dropped").inc,
    drifting=_drifting,
    sampled=lambda outcome, count: SAMPLES.labels(outcome).inc(count),
    rollout_ended=lambda status: ROLLOUTS_ENDED.labels(status).inc(),
)  # fmt: skip


def predicted(inputs: int, heads: int, seconds: float) -> None:
    """Count one answered request."""
    REQUESTS.inc()
    INPUTS.inc(inputs)
    ANSWERS.inc(inputs * heads)
    SECONDS.observe(seconds)
