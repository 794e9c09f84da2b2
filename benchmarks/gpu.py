"""All that needs a GPU, in one script: is CUDA really used, does it answer as the CPU does, and how fast is it.

`python -m benchmarks.gpu` (`--device cpu` tries the script itself). Exits with 1 when a check fails.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from adapters import tasks
from adapters.backbones.cards import DEFAULT, embedded_card
from adapters.runtime.backbone import BackboneSession
from adapters.store import database
from adapters.store.artifacts import Artifacts
from adapters.training import programs
from adapters.training.backbone import build
from adapters.training.race import race
from adapters.training.split import split
from adapters.types import Device, Embeddings, Indices
from benchmarks import record

BATCHES = (1, 2, 4, 8, 16, 32, 64)
COSINE = 0.9999  # least between the embeddings of two devices or precisions
REPETITIONS = 5


def main(device: Device, examples: int, classes: int) -> dict[str, Any]:
    """Check and measure; returns the results."""
    with tempfile.TemporaryDirectory() as folder:
        engine, artifacts = database.connect(f"sqlite:///{folder}/x.sqlite"), Artifacts(str(Path(folder) / "blobs"))
        database.migrate(engine)
        backbone = build(embedded_card(DEFAULT), engine, artifacts)
        graph = artifacts.get(backbone.artifact)
    on, cpu = BackboneSession(backbone, graph, device), BackboneSession(backbone, graph, "cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 224, 224, 3), dtype=np.uint8)
    results: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU",
        "providers": on._session.get_providers(),
        "cosine_to_cpu": cosine(on.embed(pixels[:16]), np.concatenate([cpu.embed(p[None]) for p in pixels[:16]])),
        "images_per_second": {str(n): _rate(on, pixels[:n]) for n in BATCHES},
        "race_s": record.spread([_race(examples, classes) for _ in range(REPETITIONS)]),
    }
    results |= _beside_training(on, pixels[:1], examples, classes)
    return results


def cosine(a: Embeddings, b: Embeddings) -> float:
    """The least cosine between rows, f32 [N, D] each."""
    dots = (a * b).sum(axis=1)
    return float((dots / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))).min())


def _rate(session: BackboneSession, pixels: Any) -> dict[str, float]:
    """Images a second of one batch after another."""
    session.embed(pixels)
    rounds = max(2, 128 // len(pixels)) if session.device == "cuda" else 2
    rates = []
    for _ in range(REPETITIONS):
        began = time.perf_counter()
        for _ in range(rounds):
            session.embed(pixels)
        rates.append(rounds * len(pixels) / (time.perf_counter() - began))
    return record.spread(rates)


def _data(examples: int, classes: int) -> tuple[Embeddings, Indices]:
    generator = np.random.default_rng(0)
    targets = np.arange(examples) % classes
    centres = generator.normal(size=(classes, 1280))
    return np.abs(centres[targets] + 2 * generator.normal(size=(examples, 1280))).astype(np.float32), targets


def _race(examples: int, classes: int) -> float:
    """Seconds of a whole race on random embeddings, on torch's own choice of device."""
    embeddings, targets = _data(examples, classes)
    nothing: list[Any] = [None] * examples
    parts = split(targets, np.arange(examples), nothing, nothing, 0)
    names = [str(k) for k in range(classes)]
    began = time.perf_counter()
    race(embeddings, targets, names, parts, tasks.get("classification"), "auto", {}, 0, _ignore, lambda: None)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - began


def _beside_training(session: BackboneSession, pixels: Any, examples: int, classes: int) -> dict[str, Any]:
    """p99 milliseconds of one image, alone and while a race runs."""
    alone = _latencies(session, pixels, lambda: False, 200)
    thread = threading.Thread(target=_race, args=(examples, classes))
    thread.start()
    beside = _latencies(session, pixels, lambda: not thread.is_alive(), 100_000)
    thread.join()
    return {"alone_p99_ms": float(np.percentile(alone, 99)), "beside_training_p99_ms": float(np.percentile(beside, 99))}


def _latencies(session: BackboneSession, pixels: Any, done: Callable[[], bool], most: int) -> list[float]:
    times: list[float] = []
    while len(times) < most and not (times and done()):
        began = time.perf_counter()
        session.embed(pixels)
        times.append((time.perf_counter() - began) * 1e3)
    return times


def _ignore(_: dict[str, Any]) -> None:
    pass


def failures(results: dict[str, Any], device: Device) -> list[str]:
    """What is wrong, in words."""
    found = []
    if device == "cuda" and results["providers"][0] != "CUDAExecutionProvider":
        found.append(f"CUDA was asked for, the session runs on {results['providers'][0]}")
    if device == "cuda" and programs.device().type != "cuda":
        found.append("torch sees no CUDA device, so heads would be trained on the CPU")
    if results["cosine_to_cpu"] < COSINE:
        found.append(f"embeddings differ from the CPU's: least cosine {results['cosine_to_cpu']:.6f}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--classes", type=int, default=100)
    options = parser.parse_args()
    measured = main(options.device, options.examples, options.classes)
    for key, value in measured.items():
        print(f"  {key:28} {value}")
    if options.device == "cuda":
        record.save("gpu", measured)
    wrong = failures(measured, options.device)
    print("\n".join(wrong) or "all checks passed")
    raise SystemExit(bool(wrong))
