"""Texts: what one costs, what HTTP adds, and how soon a head is taught; how good heads are tells `banking`.

Limits: 64 pieces at most 12 ms of a core; at 16 connections at least 0.9 of a bare loop with the same tokenizer, graph
and threads, of texts of 64 pieces (`_short`: banking77's questions, of some 14, of which HTTP is a larger share); 1,000
new texts live within 20 s, cached ones within 1.5 s. `--quick` tries it out on few.
"""

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adapters.modalities import text as modality
from adapters.runtime.heads.head import Head
from adapters.runtime.onnx import processor
from adapters.store import database, heads
from adapters.store.objects.artifacts import Artifacts
from adapters.types import HeadRef
from benchmarks import banking, load, record, server
from benchmarks.serving import CROWDED_TURN, bare_latencies, bare_throughput
from service.client import Client
from service.settings import Settings

Loop = Callable[[bytes], int]
LENGTHS = (16, 64, 128, 256)  # pieces
MAX_CORE_MS = 12.0  # of a core, 64 pieces
MIN_THROUGHPUT = 0.9  # of the bare loop, 16 connections
MAX_NEW, MAX_CACHED = 20.0, 1.5  # seconds, 1,000 texts of 10 intents


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    repetitions: int
    passes: int  # of each length
    examples: int  # of a /finetune


FULL, QUICK = Plan(5, 50, 1000), Plan(1, 5, 100)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    with server.running() as running, running.client() as client:
        _finetune(client, "bench", _labeled(plan.examples, 99))  # the worker has its torch, the bare loop its head
        rounds = [_round(plan, running, client, number) for number in range(plan.repetitions)]
        costs = _costs(running.home, plan)
    found: dict[str, Any] = costs | {name: record.spread([r[name] for r in rounds]) for name in rounds[0]}
    found["limits"] = {
        "core_ms_64": MAX_CORE_MS, "throughput_ratio": MIN_THROUGHPUT, "new_s": MAX_NEW, "cached_s": MAX_CACHED,
    }  # fmt: skip
    record.show(found)
    return found


def _costs(home: Path, plan: Plan) -> dict[str, Any]:
    """Milliseconds of a core from bytes to embedding, by pieces; what other processes take does not count."""
    loaded = banking.session(home)
    found = {}
    for length in LENGTHS:
        data = _of_length(length)
        loaded.embed([modality.decode(data, loaded.backbone.spec)])
        times = []
        for _ in range(plan.passes):
            began = time.process_time()
            loaded.embed([modality.decode(data, loaded.backbone.spec)])
            times.append((time.process_time() - began) * 1e3)
        found[f"core_ms_{length}"] = record.spread(times)
    return found


def _of_length(pieces: int, start: int = 0) -> bytes:
    """A text of so many pieces, with both ends: each word here is one. Others by `start`: equal ones are asked once."""
    words = "where is my new card and when will it be sent to me please".split()
    return " ".join(random.Random(start).choices(words, k=pieces - 2)).encode()


def _round(plan: Plan, running: server.Running, client: Client, number: int) -> dict[str, float]:
    """One turn of everything: bare loop and service in turns, then 1,000 texts that are new, and known."""
    questions = [each.encode() for each, _ in _labeled(256, number)]
    loops = bare(running.home), bare(running.home, alone=True)
    labeled = [(f"{text} ({number})", label) for text, label in _labeled(plan.examples, number)]
    return {
        **_asked(loops, [_of_length(64, start) for start in range(256)], running.port, ""),
        **_asked(loops, questions, running.port, "_short"),
        "new_s": server.seconds(lambda: _finetune(client, f"new-{number}", labeled)),
        "cached_s": server.seconds(lambda: _finetune(client, f"cached-{number}", labeled)),
    }  # fmt: skip


def _asked(loops: tuple[Loop, Loop], texts: list[bytes], port: int, kind: str) -> dict[str, float]:
    """The service beside the bare loop, in turns: of 16 connections, and of one."""
    one, lone = loops
    requests = [load.request("/predict?head=bench", each, "text/plain", port) for each in texts]
    limits, served = [], []
    for _ in range(4):
        limits.append(bare_throughput(one, texts, processor.cores(), CROWDED_TURN))
        served.append(load.run(requests, port, 16, CROWDED_TURN).checked().throughput)
    alone = statistics.median(bare_latencies(lone, texts, CROWDED_TURN))
    single = statistics.median(load.run(requests, port, 1, CROWDED_TURN).checked().latencies)
    limit, pace = statistics.mean(limits), statistics.mean(served)
    found = {"bare_texts_per_second": limit, "predict_texts_per_second": pace, "throughput_ratio": pace / limit}
    found |= {"bare_ms": alone * 1e3, "predict_ms": single * 1e3, "added_ms": (single - alone) * 1e3}
    return {f"{name}{kind}": figure for name, figure in found.items()}


def bare(home: Path, *, alone: bool = False) -> Loop:
    """Decode → backbone → head → best class, as short as it can be written; `alone`: with every core, as we serve."""
    settings, loaded = Settings(home=home), banking.session(home)
    engine, artifacts = database.connect(settings.database), Artifacts(settings.artifacts)
    if alone:
        loaded.widen(artifacts.get(loaded.backbone.artifact), processor.cores())
    head = Head.from_bytes(artifacts.get(heads.resolve(engine, HeadRef("bench")).digest))
    spec = loaded.backbone.spec

    def one(data: bytes) -> int:
        embedding = loaded.embed([modality.decode(data, spec)], alone)
        return int(head.answer(embedding).arrays["probabilities"].argmax())

    return one


def _labeled(count: int, seed: int, intents: int = 10) -> list[tuple[str, str]]:
    """So many questions of a few intents, as many of each; other intents by another seed."""
    texts, labels = banking.questions("train")
    names = sorted(set(labels))
    chosen = [names[(seed * intents + i) % len(names)] for i in range(intents)]
    by_label = {name: [t for t, label in zip(texts, labels, strict=True) if label == name] for name in chosen}
    return [
        (by_label[n][i % len(by_label[n])] + _again(i, by_label[n]), n) for i in range(count // intents) for n in chosen
    ]


def _again(position: int, texts: list[str]) -> str:
    """What tells a question from itself where an intent has fewer than are wanted."""
    return "" if position < len(texts) else f" #{position}"


def _finetune(client: Client, head: str, texts: list[tuple[str, str]]) -> None:
    job = client.finetune(head, texts=texts, wait=60)
    job = job if job["finished_at"] else client.wait(job["id"])
    assert job["status"] == "succeeded", job["error"]


if __name__ == "__main__":
    record.save("text", main())
