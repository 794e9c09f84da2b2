"""What taps cost: the same service, images and heads on a backbone with taps and on its twin without, in turns.

Limits: a pass and /predict at 16 connections keep at least 0.98 of their pace; `pooled` is the same bit for bit.
The twin is the backbone's own graph as it was before taps: without their nodes, and with the output `features`. Both
are in the precision of ESPALIER_PRECISION (by default the machine's). Heads on the two are taught the same photos; on
the backbone with taps one reads `pooled`, one all.
"""

import statistics
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from adapters.backbones.facts import digest
from adapters.runtime.backbone import BackboneSession
from adapters.store import backbones
from adapters.training.backbone.taps.build import without_taps
from adapters.types import Backbone
from benchmarks import load, photos, record, server, synthetic
from service.client import Client, LabeledImage

REPETITIONS = 9
PASSES = 60  # of each kind in a repetition
TURN, CROWDED = 0.25, 1.0  # seconds, with one connection and with 16
TURNS = 4
COPIES = 2000  # heads of each kind, for their memory
MIN_KEPT = 0.98
PLAIN = "plain"  # the twin
HEADS = {"before": (PLAIN, "pooled"), "pooled": ("", "pooled"), "taps": ("", "taps")}  # backbone, what is read


def main() -> dict[str, Any]:
    """Measure and print; returns the results."""
    pictures = photos.crops(64)
    with server.running() as running:
        store = synthetic.Store.of(running.home)
        twin = _twin(store)
        with running.client() as client:
            _teach(client, pictures)
        sessions = [BackboneSession(b, store.artifacts.get(b.artifact)) for b in (twin, store.backbone)]
        rounds = [_round(running.port, pictures, sessions) for _ in range(REPETITIONS + 1)]
        results = {name: record.spread([r[name] for r in rounds[1:]]) for name in rounds[0]}  # the first warms up
        results |= _memory(running.home, store, pictures[0][0])
    results["limits"] = {"pass_kept": MIN_KEPT, "throughput_kept_pooled": MIN_KEPT, "throughput_kept_taps": MIN_KEPT}
    record.show(results)
    return results


def _twin(store: synthetic.Store) -> Backbone:
    """The default backbone without taps, as one of its own."""
    graph = without_taps(store.artifacts.get(store.backbone.artifact))
    artifact = store.artifacts.put(graph)
    details = {key: value for key, value in store.backbone.details.items() if key != "taps"}
    identity = digest(artifact, store.backbone.spec, store.backbone.precision)
    twin = replace(store.backbone, name=PLAIN, digest=identity, artifact=artifact, details=details)
    backbones.save(store.engine, twin)
    return twin


def _teach(client: Client, pictures: Sequence[tuple[bytes, str]]) -> None:
    images = [LabeledImage(f"{i}.jpg", lambda d=data: d, label) for i, (data, label) in enumerate(pictures)]
    for name, (backbone, reads) in HEADS.items():
        options: dict[str, Any] = {"method": "logistic", "reads": reads} | ({"backbone": backbone} if backbone else {})
        job = client.wait(client.finetune(name, images, **options)["id"])
        assert job["status"] == "succeeded", job


def _round(port: int, pictures: list[tuple[bytes, str]], sessions: Sequence[BackboneSession]) -> dict[str, float]:
    """One turn of everything, each kind in short turns: within seconds a machine drifts by more than taps cost."""
    before, after = _passes(sessions)
    found = {"pass_ms_before": before * 1e3, "pass_ms": after * 1e3, "pass_kept": before / after}
    asked = {n: [load.request(f"/predict?head={n}", d, "image/jpeg", port) for d, _ in pictures] for n in HEADS}
    pace: dict[str, list[float]] = {name: [] for name in HEADS}
    wait: dict[str, list[float]] = {name: [] for name in HEADS}
    for _ in range(TURNS):
        for name in np.random.default_rng().permutation(list(HEADS)).tolist():
            pace[name].append(load.run(asked[name], port, 16, CROWDED).checked().throughput)
            wait[name] += load.run(asked[name], port, 1, TURN).checked().latencies
    for name in HEADS:
        found[f"images_per_second_{name}"] = statistics.mean(pace[name])
        found[f"latency_ms_{name}"] = statistics.median(wait[name]) * 1e3
    for name in ("pooled", "taps"):
        found[f"throughput_kept_{name}"] = found[f"images_per_second_{name}"] / found["images_per_second_before"]
        found[f"latency_added_ms_{name}"] = found[f"latency_ms_{name}"] - found["latency_ms_before"]
    return found


def _passes(sessions: Sequence[BackboneSession]) -> tuple[float, float]:
    """Median seconds of a pass of one image, by turns."""
    side = sessions[0].backbone.spec.size
    pixels = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
    answers = [session.embed({"pixels": pixels}) for session in sessions]
    assert np.array_equal(answers[0], answers[1][:, : answers[0].shape[1]]), "`pooled` is not the same"
    times: list[list[float]] = [[], []]
    for number in range(2 * PASSES):
        for which in (0, 1) if number % 2 else (1, 0):
            began = time.perf_counter()
            sessions[which].embed({"pixels": pixels})
            times[which].append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])


def _memory(home: Any, store: synthetic.Store, picture: bytes) -> dict[str, Any]:
    """MiB resident a loaded head of each kind."""
    for kind in ("pooled", "taps"):
        names = [f"{kind}-{n}" for n in range(COPIES)]
        synthetic.publish(store, list(synthetic.copies(store, kind, names)))
    found = {}
    with server.serving(home, ESPALIER_HEAD_CACHE_BYTES=str(2**33)) as running, running.client() as client:
        client.predict(["pooled", "taps"], [picture])
        for kind in ("pooled", "taps"):
            before = running.resident()
            for start in range(0, COPIES, 200):
                client.predict([f"{kind}-{n}" for n in range(start, start + 200)], [picture])
            found[f"mib_a_head_{kind}"] = record.spread([(running.resident() - before) / COPIES])
    return found


if __name__ == "__main__":
    record.save("taps_cost", main())
