"""The serving process: seconds to ready, MiB resident with 100 heads loaded.

Limits: ready in at most 3 s (from the start of `bentoml serve` in a prepared home), at most 400 MiB resident.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

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
        names = [f"head-{i}" for i in range(HEADS)]
        for seed, name in enumerate(names):
            images = [LabeledImage(f"{i}.jpg", lambda d=d: d, label) for i, (d, label) in enumerate(pictures)]
            client.finetune(name, images, seed=seed, method="prototype")
        for job in client.jobs(limit=1000):
            client.wait(job["id"])
        starts = [_start(running.home, names, pictures[0][0]) for _ in range(REPETITIONS)]
    results: dict[str, Any] = {
        "ready_s": record.spread([ready for ready, _ in starts]),
        "resident_mib": record.spread([resident for _, resident in starts]),
        "limits": {"ready_s": MAX_READY, "resident_mib": MAX_RESIDENT, "heads": HEADS},
    }
    for name, row in results.items():
        print(f"  {name:34} {row}")
    return results


def _start(home: Path, names: list[str], picture: bytes) -> tuple[float, float]:
    """Start only the server in the same home, ask every head once, and look at its largest process."""
    port = server.free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "service.app:Espalier", "--port", str(port)]
    # A second start has Python's compiled files, where nobody forbids them.
    allowed = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    marked = allowed | {"ESPALIER_HOME": str(home), "ESPALIER_LOG_LEVEL": "warning", "ESPALIER_BENCH": str(port)}
    began = time.perf_counter()
    process = subprocess.Popen(command, env=marked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with Client(f"http://127.0.0.1:{port}") as client:
            while not client.is_ready():
                time.sleep(0.02)
            ready = time.perf_counter() - began
            for name in names:
                client.predict([name], [picture])
        return ready, max(server.resident_of(f"ESPALIER_BENCH={port}"))
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    record.save("footprint", main())
