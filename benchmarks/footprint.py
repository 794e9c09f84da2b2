"""The serving process: seconds to ready, MiB resident with 100 heads loaded, and what a second process adds.

Limits: ready in at most 3 s (from the start of `bentoml serve` in a prepared home), at most 400 MiB resident.
"""

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from benchmarks import photos, record, server
from service.client import Client, LabeledImage

HEADS = 100
REPETITIONS = 5
MAX_READY = 3.0  # seconds
MAX_RESIDENT = 400.0  # MiB


def main() -> dict[str, Any]:
    """Measure and print; returns the results."""
    pictures = photos.crops(40)
    with server.running() as running, running.client() as client:
        names = _teach(client, pictures)
        starts = [_start(running.home, names, pictures[0][0]) for _ in range(REPETITIONS)]
        both = [(_together(running.home, names, 1), _together(running.home, names, 2)) for _ in range(REPETITIONS)]
    results: dict[str, Any] = {
        "ready_s": record.spread([ready for ready, _ in starts]),
        "resident_mib": record.spread([resident for _, resident in starts]),
        "one_process_mib": record.spread([one for one, _ in both]),
        "two_processes_mib": record.spread([two for _, two in both]),
        "second_process_mib": record.spread([two - one for one, two in both]),
        "limits": {"ready_s": MAX_READY, "resident_mib": MAX_RESIDENT, "heads": HEADS},
    }
    for name, row in results.items():
        print(f"  {name:34} {row}")
    return results


def _teach(client: Client, pictures: list[tuple[bytes, str]]) -> list[str]:
    names = [f"head-{i}" for i in range(HEADS)]
    for seed, name in enumerate(names):
        images = [LabeledImage(f"{i}.jpg", lambda d=d: d, label) for i, (d, label) in enumerate(pictures)]
        client.finetune(name, images, seed=seed, method="prototype")
    for job in client.jobs(limit=1000):
        client.wait(job["id"])
    return names


def _start(home: Path, names: list[str], picture: bytes) -> tuple[float, float]:
    """Start only the server in the same home, ask every head once, and look at its largest process."""
    began = time.perf_counter()
    with serving(home) as (mark, url), Client(url) as client:
        while not client.is_ready():
            time.sleep(0.02)
        ready = time.perf_counter() - began
        for name in names:
            client.predict([name], [picture])
        return ready, max(server.resident_of(mark))


def _together(home: Path, names: list[str], servers: int) -> float:
    """MiB of so many processes that have loaded every head, and of what starts them; what they share counts once."""
    # Threads are for all: with two for each, each has a second session, for an image that is alone.
    settings = {"ESPALIER_SERVERS": str(servers), "ESPALIER_THREADS": str(2 * servers)}
    with serving(home, record.ROOT, **settings, ESPALIER_PINNED_HEADS=",".join(names)) as (mark, url):
        with Client(url) as client:
            client.wait_ready()
        while _heads_loaded(url) < servers * len(names):
            time.sleep(0.1)
        time.sleep(1)  # until each has its session for images that are alone
        return server.proportional(mark)


def _heads_loaded(url: str) -> float:
    found = re.search(r"^espalier_heads_loaded (\S+)$", httpx.get(f"{url}/metrics").text, re.MULTILINE)
    return float(found[1]) if found else 0


@contextlib.contextmanager
def serving(home: Path, checkout: Path = record.ROOT, **settings: str) -> Iterator[tuple[str, str]]:
    """The server of a checkout alone, not waited for: the mark of its processes and its URL."""
    port = server.free_port()
    command = [
        sys.executable,
        "-m",
        "bentoml",
        "serve",
        "service.app:Espalier",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    # A second start has Python's compiled files, where nobody forbids them.
    allowed = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    ours = {"ESPALIER_HOME": str(home), "ESPALIER_LOG_LEVEL": "warning", "ESPALIER_BENCH": str(port)}
    ours["PYTHONPATH"] = str(checkout)
    process = subprocess.Popen(command, env=allowed | ours | settings, cwd=checkout, **server.SILENT)
    try:
        yield f"ESPALIER_BENCH={port}", f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    record.save("footprint", main())
