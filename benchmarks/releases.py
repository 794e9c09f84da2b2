"""/predict of this checkout beside that of another one, in turns: what a change of the service costs its users.

    git worktree add ../before COMMIT
    python -m benchmarks.releases ../before

Limit: at least 0.98 of the other's pace, with 16 connections and with one. Both are taught the same photos and are up
together, but only one is asked at a time; the packages are this environment's.
"""

import argparse
import statistics
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from benchmarks import load, photos, record, server
from service.client import Client

REPETITIONS = 7
TURN, TURNS = 1.0, 3  # seconds, and how many of each in a repetition
CONNECTIONS = (16, 1)
MIN_KEPT = 0.98


def main(other: Path) -> dict[str, Any]:
    """Measure and print; returns the results."""
    pictures = photos.crops(64)
    with server.running() as ours, server.running(checkout=other.resolve()) as theirs:
        for running in (ours, theirs):
            with running.client() as client:
                _teach(running, client, pictures)
        rounds = [_round(ours.port, theirs.port, pictures) for _ in range(REPETITIONS + 1)]
    counted = rounds[1:]  # the first warms up
    results: dict[str, Any] = {name: record.spread([r[name] for r in counted]) for name in counted[0]}
    results["limits"] = {f"kept_{count}": MIN_KEPT for count in CONNECTIONS}
    results["notes"] = {"beside": f"commit {record.commit(other)}"}
    record.show(results)
    return results


def _teach(running: server.Running, client: Client, pictures: list[tuple[bytes, str]]) -> None:
    """By a plain form, which every release understands."""
    files = [("images", (f"{i}.jpg", data, "image/jpeg")) for i, (data, _) in enumerate(pictures)]
    form = {"head": "pets", "method": "logistic", "reads": "taps", "labels": [label for _, label in pictures]}
    answer = httpx.post(
        f"http://127.0.0.1:{running.port}/finetune", files=files, data=form, timeout=60
    ).raise_for_status()
    job = client.wait(answer.json()["id"])
    assert job["status"] == "succeeded", job


def _round(ours: int, theirs: int, pictures: list[tuple[bytes, str]]) -> dict[str, float]:
    found = {}
    for count in CONNECTIONS:
        pace: dict[int, list[float]] = {ours: [], theirs: []}
        for _ in range(TURNS):
            for port in np.random.default_rng().permutation([ours, theirs]).tolist():
                asked = [load.request("/predict?head=pets", data, "image/jpeg", port) for data, _ in pictures]
                pace[port].append(load.run(asked, port, count, TURN).checked().throughput)
        found[f"images_per_second_{count}"] = statistics.mean(pace[ours])
        found[f"kept_{count}"] = statistics.mean(pace[ours]) / statistics.mean(pace[theirs])
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    record.save("releases", main(parser.parse_args().other))
