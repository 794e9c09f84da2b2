"""The goals that a person asks for first, with what was measured: the first table of docs/benchmarks.md."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Goal:
    """A row of a result that has a limit."""

    result: str  # the name of its file
    row: str
    what: str
    sense: Literal["≥", "≤"]


GOALS = (
    Goal("serving", "throughput_ratio", "Images a second of `/predict`, of the bare loop's: 16 connections", "≥"),
    Goal("serving", "added_ms", "Milliseconds that HTTP adds to an answer: one connection", "≤"),
    Goal("heads", "kept_with_10000", "Pace with 10,000 heads, of the pace with one", "≥"),
    Goal("heads", "resident_mib_a_head", "MiB of memory a loaded head", "≤"),
    Goal("peers", "bentoml_torch: espalier_is_times_faster_1", "Times as fast as BentoML with torch", "≥"),
    Goal("peers", "ray_onnx: espalier_fp32_is_times_faster_1", "Times as fast as Ray Serve with ONNX Runtime", "≥"),
    Goal("peers", "fastapi_onnx_shared: espalier_fp32_is_times_faster_1", "… as FastAPI, ONNX, one backbone", "≥"),
    Goal("overload", "goodput_over_capacity", "Answers under four times the load, of what is possible", "≥"),
    Goal("beside", "p99_ratio", "p99 beside a job that trains, of p99 without", "≤"),
    Goal("swaps", "failed", "Requests that fail while versions are swapped", "≤"),
    Goal("swaps", "p99_ratio", "p99 while versions are swapped, of p99 without", "≤"),
    Goal("finetuning", "new_ratio", "1,000 new photos to a live version, of decoding and embedding alone", "≤"),
    Goal("finetuning", "cached_s", "Seconds for 1,000 known photos of 10 classes", "≤"),
    Goal("text", "core_ms_64", "Milliseconds of a core for a text of 64 pieces", "≤"),
    Goal("text", "throughput_ratio", "Texts of 64 pieces a second, of the bare loop's: 16 connections", "≥"),
    Goal("text", "new_s", "Seconds for 1,000 new texts of 10 intents", "≤"),
    Goal("text", "cached_s", "The same of known ones", "≤"),
    Goal("training", "wide_race_s", "Seconds for a race of 72 candidates", "≤"),
    Goal("many_examples-fp32", "together_peak_mib", "MiB at most of a job of 100,000 examples, all processes", "≤"),
    Goal("access", "key_us", "Microseconds until it is known who asks: one of 10,000 keys", "≤"),
    Goal("access", "token_us", "The same of a token that was proven before", "≤"),
    Goal("chaos", "availability", "Share of predictions answered while parts are killed for 20 minutes", "≥"),
    Goal("outages", "slowest_s_without_database", "Seconds until any answer while Postgres is away", "≤"),
    Goal("heads_page", "page_ms", "Milliseconds for a page of 1,000 of 2,000 heads", "≤"),
    Goal("crowd", "p99_ratio", "p99 while 200 jobs run on 1,000 heads of 3 tenants, of p99 without", "≤"),
    Goal("propagation", "slowest_s", "Seconds until another replica serves a change", "≤"),
    Goal("scale_out", "a_core_each_times_as_fast", "20,000 images on two workers of a core, of one", "≥"),
    Goal("damage_checks", "worst_share", "Share of a `/predict` that looking for damage in a photo takes", "≤"),
    Goal("deep", "gtsrb: accuracy of auto", "Accuracy on 43 traffic signs, 42 of each, with the deep round", "≥"),
    Goal("deep", "gtsrb: seconds of auto, of fine_tune's", "Seconds for that, of 20 epochs of fastai's fine_tune", "≤"),
    Goal("deep_serving", "throughput_ratio_1", "Images a second for a deep head, of the bare loop's", "≥"),
    Goal("deep_serving", "throughput_ratio_10", "The same for ten of them together", "≥"),
    Goal("soak", "server_mib_slope_for_1000_jobs", "MiB that a server grows by in 1,000 jobs", "≤"),
    Goal("soak", "worker_mib_slope_for_1000_jobs", "MiB that a worker grows by in 1,000 jobs", "≤"),
    Goal("footprint", "ready_s", "Seconds from start to ready", "≤"),
    Goal("footprint", "resident_mib", "MiB of a server that has 100 heads", "≤"),
    Goal("taps_cost-fp32", "pass_kept", "Pace of a pass that tells taps, fp32, of one without", "≥"),
    Goal("taps_cost", "pass_kept", "The same in int8", "≥"),
    Goal("trust", "auroc_10", "AUROC of suspected labels, 10 % of them wrong", "≥"),
    Goal("trust", "copies_recall", "Share of near-duplicates that are found", "≥"),
)


@dataclass(frozen=True, slots=True)
class Met:
    """A goal with what was measured."""

    goal: Goal
    limit: float
    row: Json  # median, min, max

    @property
    def kept(self) -> bool:
        """By the median."""
        return self._share(self.row["median"]) >= 1

    @property
    def shares(self) -> Json:
        """As the goal's multiple, so that 1 is the goal and more is better, whichever its sense."""
        found = sorted(self._share(self.row[key]) for key in ("min", "median", "max"))
        return dict(zip(("min", "median", "max"), found, strict=True))

    def _share(self, value: float) -> float:
        if self.goal.sense == "≥":
            return value / self.limit
        return self.limit / value if value > 0 else float(self.limit >= value)


def met(results: dict[str, Json]) -> Iterator[Met]:
    """Those that were measured, by result."""
    for goal in GOALS:
        found = results.get(goal.result, {})
        row, limit = _row(found, goal.row), found.get("limits", {}).get(goal.row)
        if row is not None and limit is not None:
            yield Met(goal, limit, row)


def _row(found: Json, key: str) -> Json | None:
    """A row, also of a group: `group: row`."""
    outer, _, inner = key.partition(": ")
    row = found.get(key, found.get(outer, {}).get(inner) if inner else None)
    return row if isinstance(row, dict) and "median" in row else None
