"""A hundred thousand examples in one /finetune, server and worker together in a control group of 4 GiB.

Pictures are 16 × 16 pixels of noise in the colour of their class. Their embeddings are made up and cached beforehand:
class means and noise. The embedded backbone would take minutes for them, and no more memory than for a hundred.
Needs root and a control group of memory, of the first or the second version, that may be written; without it the job
runs without a bound, which the results say.

Limit: the job succeeds, and the control group never holds more than 4 GiB.
"""

import contextlib
import hashlib
import io
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adapters.modalities.image.tensors import thumbnail
from adapters.store import backbones, database
from adapters.store.embeddings import Embedded, EmbeddingCache
from benchmarks import record, server
from service.client import Client, LabeledImage
from service.processes import default_backbone
from service.settings import Settings

GIB, MIB = 1 << 30, 1 << 20
BOUND = 4 * GIB
CLASSES, SIDE, BATCH = 10, 16, 500
PATIENCE = 3600.0  # seconds
CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is sent."""

    examples: int


FULL, QUICK = Plan(100_000), Plan(600)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    with server.prepared() as home, _group() as group:
        images = _pictures(plan.examples)
        _embed(home, images)
        with _serving(home, group) as client:
            began = time.monotonic()
            job = client.finetune("many", images, views="none")
            accepted = time.monotonic() - began
            peaks = _watch(home, client, job["id"])
    ended = peaks["job"]
    if ended["status"] != "succeeded":
        print(f"  {ended['status']}: {ended['error']}")
    job_seconds = time.monotonic() - began - accepted
    once = {
        "examples": plan.examples, "bounded": group is not None, "succeeded": ended["status"] == "succeeded",
        "accepted_s": accepted, "job_s": job_seconds, "server_peak_mib": peaks["server"],
        "worker_peak_mib": peaks["worker"], "together_peak_mib": peaks["together"],
    }  # fmt: skip
    found: dict[str, Any] = {name: record.spread([float(value)]) for name, value in once.items()}
    found["limits"] = {"together_peak_mib": BOUND / MIB, "succeeded": 1.0}
    record.show(found)
    return found


def _pictures(count: int) -> list[LabeledImage]:
    return [LabeledImage(f"{n}.png", lambda n=n: _file(n), f"class-{n % CLASSES}") for n in range(count)]


def _pixels(number: int) -> np.ndarray:
    random = np.random.default_rng(number)
    colour = 60 + 14 * np.roll(np.arange(CLASSES), number)[:3]
    return random.normal(colour, 40, (SIDE, SIDE, 3)).clip(0, 255).astype(np.uint8)


def _file(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(_pixels(number)).save(file, "PNG")
    return file.getvalue()


def _embed(home: Path, images: list[LabeledImage]) -> None:
    """Put an embedding of each into the cache: as long as the default backbone's."""
    settings = Settings(home=home)
    engine = database.connect(settings.database)
    backbone = backbones.find(engine, default_backbone.name(settings, engine))
    cache = EmbeddingCache(engine, backbone.digest)
    random = np.random.default_rng(0)
    means = random.normal(size=(CLASSES, backbone.length)).astype(np.float32)
    for start in range(0, len(images), BATCH):
        numbers = range(start, min(start + BATCH, len(images)))
        noise = 4 * random.standard_normal((len(numbers), backbone.length), dtype=np.float32)
        vectors = np.abs(noise + means[[n % CLASSES for n in numbers]])
        shas = [hashlib.sha256(images[n].data()).hexdigest() for n in numbers]
        prints = [thumbnail(_pixels(n)) for n in numbers]
        cache.put([Embedded(*row) for row in zip(shas, vectors, prints, strict=True)])
    engine.dispose()


@contextlib.contextmanager
def _serving(home: Path, group: Path | None) -> Iterator[Client]:
    """`espalier serve`, all of it in the control group."""
    port = server.free_port()
    command = [sys.executable, "-m", "service.cli", "serve", "--port", str(port)]
    enter = f"echo $$ > {group / 'cgroup.procs'} && " if group else ""
    ours = {"ESPALIER_HOME": str(home), "ESPALIER_LOG_LEVEL": "warning", "PYTHONPATH": str(record.ROOT)}
    ours["ESPALIER_SWEEP_SECONDS"] = str(PATIENCE)  # else a worker forgets embeddings that nobody holds yet
    shell = ["sh", "-c", f'{enter}exec "$@"', "sh", *command]
    process = subprocess.Popen(shell, env=os.environ | ours, **server.SILENT)
    try:
        with Client(f"http://127.0.0.1:{port}", timeout=PATIENCE) as client:
            client.wait_ready(PATIENCE)
            yield client
    finally:
        process.terminate()
        process.wait()


def _watch(home: Path, client: Client, job_id: str) -> dict[str, Any]:
    """Peaks, MiB, until the job has ended and let go of what it held: its learning curve is written after its end."""
    peaks: dict[str, Any] = {"server": 0.0, "worker": 0.0, "together": 0.0}
    engine = database.connect(Settings(home=home).database)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        looked = look(home)
        peaks |= {name: max(peaks[name], looked[name]) for name in looked}
        job = client.job(job_id)
        with database.reading(engine) as connection:
            held = connection.exec_driver_sql("SELECT count(*) FROM job_blobs").scalar()
        if job["status"] in ("succeeded", "rejected", "failed", "cancelled") and not held:
            break
        time.sleep(0.5)
    engine.dispose()
    return peaks | {"job": job}


def look(home: Path) -> dict[str, float]:
    """The most that was ever resident of the server and of the worker, and what all hold together now, MiB."""
    mark = f"ESPALIER_HOME={home}"
    worker = [pid for pid in server.marked(mark) if "service.cli worker" in server.command(pid)]
    serving = [pid for pid in server.marked(mark) if pid not in worker]
    return {
        "server": max(map(server.peak, serving), default=0.0), "worker": max(map(server.peak, worker), default=0.0),
        "together": server.proportional(mark),
    }  # fmt: skip


@contextlib.contextmanager
def _group() -> Iterator[Path | None]:
    """A control group bound to 4 GiB; None where none can be made."""
    second = (CGROUPS / "cgroup.controllers").exists()
    top, limit = (CGROUPS, "memory.max") if second else (CGROUPS / "memory", "memory.limit_in_bytes")
    try:
        made = Path(tempfile.mkdtemp(prefix="espalier-bench-", dir=top))
    except OSError:
        yield None
        return
    try:
        (made / limit).write_text(str(BOUND))
        yield made
    finally:
        made.rmdir()
