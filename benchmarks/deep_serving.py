"""Deep heads on one server beside a thousand shallow ones: pace, memory of each, a cold one.

Deep heads are tails of the default backbone with weights a little off, cut behind `blocks.5`, so nothing is taught, in
the backbone's precision, as jobs make them; `tail_ms` and `tail_fp32_ms` are a run of one in that and in fp32. The
bare loop does what a request asks for without a server: decode, trunk, and tails of the same heads one after the other,
in a thread a core; that of a shallow one runs the whole backbone. Loops and service take turns in one run, because the
machine's speed drifts. `around_ms` is what all cores together spend on a request besides what its loop does.

Limits, with 16 connections: at least 0.9 of the loop's throughput, one deep head a request and ten (missed: ADR 34),
and one deep head for 16 pictures a request;
around a request for a deep head at most 1.1 times what is around one for a shallow head; shallow requests at least 0.96
as many beside loaded deep heads as without; at most 1.3 times its file resident a further deep head; while cold ones
are loaded the p99 of shallow requests at most twice.
"""

import shutil
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from adapters.modalities import image
from adapters.runtime.heads.head import Head
from adapters.runtime.onnx import processor
from benchmarks import load, photos, record, server, synthetic
from benchmarks.deep_copies import CutBackbone
from benchmarks.deep_scene import (
    CLASSES,
    CUT,
    FULL,
    QUICK,
    Plan,
    Scene,
    deep_loop,
    shallow_loop,
    tails,
    trunk,
    trunk_of,
)
from benchmarks.serving import bare_throughput

CONNECTIONS = 16
TOGETHER = 10  # deep heads in one request
PICTURES = 16  # in one request, of those with several
RUNS = 50  # of each tail
FIRST = 8  # deep heads after which what lanes keep for runs is there, some 6 MiB, however many heads come
FEW = 4  # connections while cold heads are loaded
MIN_THROUGHPUT, MAX_AROUND, MIN_KEPT, MAX_MEMORY, MAX_STALL = 0.9, 1.1, 0.96, 1.3, 2.0
# Bytes of heads; and seconds that inputs may wait: 256 pictures take longer than the second that is the rule on a slow
# or busy machine, and what is measured is the pace, not the refusals.
ROOMY = {"ESPALIER_HEAD_CACHE_BYTES": str(16 * 2**30), "ESPALIER_MAX_WAITING_SECONDS": "60"}


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    with server.prepared() as home:
        scene = _filled(home, plan)
        other = Path(shutil.copytree(home, home.parent / f"{home.name}-shallow"))
        try:
            found = _measured(scene, home, other)
        finally:
            shutil.rmtree(other, ignore_errors=True)
    found["limits"] = {
        "throughput_ratio_1": MIN_THROUGHPUT, f"throughput_ratio_{TOGETHER}": MIN_THROUGHPUT,
        f"throughput_ratio_of_{PICTURES}_pictures": MIN_THROUGHPUT,
        "around_of_shallow": MAX_AROUND, "shallow_kept": MIN_KEPT, "resident_of_file": MAX_MEMORY,
        "cold_p99_ratio": MAX_STALL,
    }  # fmt: skip
    record.show(found)
    return found


def _filled(home: Path, plan: Plan) -> Scene:
    """Heads in a home, and what they are made of."""
    store = synthetic.Store.of(home)
    base, pictures = store.backbone, [data for data, _ in photos.crops(64)]
    plain = CutBackbone.of(store.artifacts.get(base.artifact), base.spec.size, CUT, base.dimension)
    taps = np.concatenate([trunk_of(plain, store).embed([image.decode(p, base.spec)]) for p in pictures])
    parts = plain.rounded(taps) if base.precision == "int8" else plain
    synthetic.publish(store, (_shallow(store, n) for n in range(plan.shallow)))
    synthetic.publish(store, _deep(store, parts, plan.deep))
    return Scene(plan, parts, plain, store, pictures)


def _shallow(store: synthetic.Store, number: int) -> synthetic.Made:
    random = np.random.default_rng(number)
    weight = random.normal(size=(store.backbone.dimension, len(CLASSES))).astype(np.float32) / np.float32(30)
    return synthetic.linear(store.backbone, f"shallow-{number}", weight, np.zeros(4, np.float32), CLASSES)


def _deep(store: synthetic.Store, parts: CutBackbone, count: int) -> Iterator[synthetic.Made]:
    base = store.backbone
    facts = {"name": base.name, "digest": base.digest, "precision": base.precision}
    manifest = {
        "task": "classification", "method": "deep", "classes": list(CLASSES), "metrics": {}, "trust": {},
        "backbone": facts, "reads": "tap", "deep": parts.stored(store.artifacts),
    }  # fmt: skip
    return (synthetic.Made(f"deep-{n}", parts.head(n, CLASSES), manifest) for n in range(count))


def _measured(scene: Scene, home: Path, other: Path) -> dict[str, Any]:
    """`home` serves both kinds, `other` the same without ever being asked for a deep one."""
    with server.serving(home, **ROOMY) as both:
        with server.serving(other, **ROOMY) as shallow:
            _ask_all(scene, both.port, "shallow")
            _ask_all(scene, shallow.port, "shallow")
            found = _cold(scene, both)
            rounds = [_round(scene, both.port, shallow.port) for _ in range(scene.plan.repetitions + 1)]
    return found | {key: record.spread([r[key] for r in rounds[1:]]) for key in rounds[0]}  # the first warms up


def _ask_all(scene: Scene, port: int, kind: str) -> None:
    """Every head once, one after the other, so that all are loaded."""
    count = scene.plan.deep if kind == "deep" else scene.plan.shallow
    requests = scene.asked(port, *([f"{kind}-{n}"] for n in range(count)))
    for start in range(0, count, len(requests)):
        some = scene.asked(port, *([f"{kind}-{n}"] for n in range(start, min(start + len(requests), count))))
        load.run(some, port, 1, 0.01 * len(some)).checked()


def _cold(scene: Scene, both: server.Running) -> dict[str, Any]:
    """p99 of shallow requests while deep heads are loaded, of that before; and what these take in memory."""
    asked = scene.asked(both.port, *([f"shallow-{n}"] for n in range(10)))
    seconds = scene.plan.seconds * scene.plan.turns
    quiet = load.run(asked, both.port, FEW, seconds).checked()
    with both.client() as client, ThreadPoolExecutor(1) as pool:
        first = min(FIRST, scene.plan.deep // 2)
        for number in range(first):
            client.predict([f"deep-{number}"], scene.pictures[:1])  # and the trunk with the first
        before = both.resident()
        told = pool.submit(load.run, asked, both.port, FEW, seconds)
        for number in range(first, scene.plan.deep):
            client.predict([f"deep-{number}"], scene.pictures[:1])
            time.sleep(seconds / scene.plan.deep / 2)  # spread over the load, which lasts longer in any case
        busy = told.result().checked()
    file = statistics.mean(_sizes(scene)) / 2**20
    taken = (both.resident() - before) / (scene.plan.deep - first)
    return {
        "cold_p99_ratio": record.spread([busy.percentile(0.99) / quiet.percentile(0.99)]),
        "deep_file_mib": record.spread([file]), "resident_mib_a_deep_head": record.spread([taken]),
        "resident_of_file": record.spread([taken / file]),
    }  # fmt: skip


def _sizes(scene: Scene) -> Iterator[int]:
    for number in range(scene.plan.deep):
        yield len(scene.store.artifacts.get(scene.store.live(f"deep-{number}").digest))


def _round(scene: Scene, both: int, shallow: int) -> dict[str, float]:
    """One turn of everything, in short parts: within seconds the machine drifts by more than what is looked for."""
    names = [f"deep-{n}" for n in range(scene.plan.deep)]
    groups = [names[n : n + TOGETHER] for n in range(0, len(names), TOGETHER)]
    asked = {1: scene.asked(both, *([name] for name in names)), TOGETHER: scene.asked(both, *groups)}
    lone = [f"shallow-{n}" for n in range(scene.plan.shallow)]
    forms = scene.forms(both, PICTURES, 2 * CONNECTIONS)
    of_shallow = {port: scene.asked(port, *([name] for name in lone[:256])) for port in (both, shallow)}
    seen: dict[str, list[float]] = {}
    for _ in range(scene.plan.turns):
        for count, requests in asked.items():
            loop = bare_throughput(deep_loop(scene, count), scene.pictures, processor.cores(), scene.plan.seconds)
            seen.setdefault(f"bare_{count}", []).append(loop)
            seen.setdefault(f"served_{count}", []).append(_pace(scene, requests, both))
        seen.setdefault("served_forms", []).append(PICTURES * _pace(scene, forms, both))
        loop = bare_throughput(shallow_loop(scene), scene.pictures, processor.cores(), scene.plan.seconds)
        seen.setdefault("bare_shallow", []).append(loop)
        for name, port in (("beside", both), ("without", shallow)):
            seen.setdefault(name, []).append(_pace(scene, of_shallow[port], port))
    pace = {name: statistics.mean(values) for name, values in seen.items()}
    ratios = {f"throughput_ratio_{count}": pace[f"served_{count}"] / pace[f"bare_{count}"] for count in asked}
    ratios[f"throughput_ratio_of_{PICTURES}_pictures"] = pace["served_forms"] / pace["bare_1"]
    served = {f"images_per_second_{count}": pace[f"served_{count}"] for count in asked}
    return ratios | served | _runs(scene) | _around(pace) | {"shallow_kept": pace["beside"] / pace["without"]}


def _around(pace: dict[str, float]) -> dict[str, float]:
    """Milliseconds of all cores that a request takes besides what its loop does; one deep head's of a shallow one's."""
    pairs = {kind: (pace[f"served_{kind}"], pace[f"bare_{kind}"]) for kind in (1, TOGETHER)}
    both = pairs | {"shallow": (pace["beside"], pace["bare_shallow"])}
    cost = {kind: 1000 * processor.cores() * (1 / served - 1 / bare) for kind, (served, bare) in both.items()}
    rows = {f"around_ms_{kind}": value for kind, value in cost.items()}
    return rows | {"around_of_shallow": cost[1] / cost["shallow"]}


def _runs(scene: Scene) -> dict[str, float]:
    """Milliseconds of a run of one tail, as it is served and in fp32, in turns."""
    tap = trunk(scene).embed([image.decode(scene.pictures[0], scene.store.backbone.spec)])
    heads = {"tail_ms": tails(scene)[0], "tail_fp32_ms": Head.from_bytes(scene.plain.head(0, CLASSES))}
    seen: dict[str, list[float]] = {name: [] for name in heads}
    for _ in range(RUNS):
        for name, head in heads.items():
            began = time.perf_counter()
            head.answer(tap)
            seen[name].append((time.perf_counter() - began) * 1000)
    return {name: statistics.median(times) for name, times in seen.items()}


def _pace(scene: Scene, requests: list[bytes], port: int) -> float:
    return load.run(requests, port, CONNECTIONS, scene.plan.seconds).checked().throughput


if __name__ == "__main__":
    record.save("deep_serving", main())
