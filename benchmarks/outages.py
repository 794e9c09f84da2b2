"""How soon a request is answered while Postgres or the bucket is away: it refuses, swallows all, or resets.

One replica and one worker on Postgres and S3 (SeaweedFS), each behind a proxy that fails on demand. While one of the
two is away every kind of request is sent once, one after the other: a loaded head, one that is not loaded, lists, a
job, an alias, a new job, and what needs neither. Each has to be answered as it should be or with 503 and `Retry-After`.

Limit: at most 2 seconds until any of these answers while the database is away. How long a bucket may say nothing is
told by the environment (AWS_READ_TIMEOUT), as one that is far away takes its time to store a large blob.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx

from benchmarks import record
from benchmarks.cluster import Cluster, Recorder, eventually, running, shapes

FAULTS = ("refuse", "swallow", "reset")
AWAY = ("database", "bucket")
NEITHER = ("/livez", "/metrics")
REPETITIONS = 3
MAX_SECONDS = 2.0

Ask = Callable[[], httpx.Response]


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    seen: dict[str, list[float]] = {}
    with running(replicas=1, workers=1) as cluster:
        recorder = Recorder(cluster)
        for head in ("warm", *_cold(quick)):
            recorder.taught(head)
        for number, (which, fault) in enumerate(_faults(quick)):
            _ready(cluster)
            for kind, seconds in _answers(cluster, which, fault, f"cold-{number}"):
                print(f"  {which} {fault}: {kind} {seconds:.2f} s", flush=True)
                seen.setdefault(which, []).append(seconds)
    found: dict[str, Any] = {f"slowest_s_without_{which}": record.spread([max(times)]) for which, times in seen.items()}
    found |= {f"median_s_without_{which}": record.spread(times) for which, times in seen.items()}
    found["limits"] = {"slowest_s_without_database": MAX_SECONDS}
    record.show(found)
    return found


def _faults(quick: bool) -> list[tuple[str, str]]:
    return [(which, fault) for which in AWAY for fault in FAULTS] * (1 if quick else REPETITIONS)


def _cold(quick: bool) -> list[str]:
    """A head for each fault that nobody has asked before."""
    return [f"cold-{number}" for number in range(len(_faults(quick)))]


def _ready(cluster: Cluster) -> None:
    http = cluster.replicas[0].client._http
    eventually(lambda: http.get("/readyz").status_code == 200 and http.get("/heads").status_code == 200)
    cluster.replicas[0].client.predict(["warm"], [_picture()])


def _answers(cluster: Cluster, which: str, fault: Any, cold: str) -> Iterator[tuple[str, float]]:
    """(kind of request, seconds until its answer) while one of the two is away."""
    proxy = getattr(cluster, which)
    proxy.set(fault)
    try:
        for kind, ask in _kinds(cluster.replicas[0].client._http, cold).items():
            began = time.perf_counter()
            answer = ask()
            taken = time.perf_counter() - began
            _require_told(which, fault, kind, answer)
            yield kind, taken
    finally:
        proxy.set("ok")


def _kinds(http: httpx.Client, cold: str) -> dict[str, Ask]:
    picture = {"Content-Type": "image/png"}
    images = [("images", (image.file_name, bytes(image.data()))) for image in shapes(each=2)]
    form = {"head": "new", "labels": json.dumps([image.label for image in shapes(each=2)])}
    return {
        "a loaded head": lambda: http.post("/predict?head=warm", content=_picture(), headers=picture),
        "a head that is not loaded": lambda: http.post(f"/predict?head={cold}", content=_picture(), headers=picture),
        "heads": lambda: http.get("/heads"),
        "a head": lambda: http.get(f"/heads/{cold}"),
        "jobs": lambda: http.get("/jobs"),
        "an alias": lambda: http.put("/heads/warm/aliases/canary", json={"version": 1}),
        "a new job": lambda: http.post("/finetune", data=form, files=images),
        **{path: lambda path=path: http.get(path) for path in NEITHER},
    }


def _picture() -> bytes:
    return bytes(shapes(each=1)[0].data())


def _require_told(which: str, fault: str, kind: str, answer: httpx.Response) -> None:
    """Answered, or told to come again; what needs neither is answered."""
    well = answer.is_success or (answer.status_code == 503 and "retry-after" in answer.headers)
    if not well or (kind in ("a loaded head", *NEITHER) and not answer.is_success):
        raise AssertionError(f"{which} {fault}: {kind} was answered {answer.status_code}: {answer.text[:300]}")


if __name__ == "__main__":
    record.save("outages", main())
