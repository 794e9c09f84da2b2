"""What it costs that a 202 and a publish survive a loss of power: the same with fsync made to do nothing.

`fsync` and its like are taken away from the second service by libeatmydata (Debian's package `eatmydata`). Both are up
together, one is asked at a time: 500 new photos until 202, then a small job from its first byte to its version.
No limit: it is the price of a promise (docs/adr/0013). How long a disk takes to sync is the disk's own.
"""

from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import photos, record, server
from service.client import Client, LabeledImage

PHOTOS, SMALL = 500, 20
REPETITIONS = 7
LIBRARY = "libeatmydata.so"


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    count, repetitions = (40, 1) if quick else (PHOTOS, REPETITIONS)
    pictures = [data for data, _ in photos.crops(20)]
    with server.running() as safe, server.running(LD_PRELOAD=library()) as unsafe:
        rounds = [_round(safe, unsafe, pictures, count, number) for number in range(repetitions + 1)]
    results = {name: record.spread([r[name] for r in rounds[1:]]) for name in rounds[0]}  # the first warms up
    record.show(results)
    return results


def library() -> str:
    """Raises FileNotFoundError where it is not installed."""
    found = sorted(Path("/usr/lib").glob(f"**/{LIBRARY}"))
    if not found:
        raise FileNotFoundError(f"there is no {LIBRARY}: apt-get install eatmydata")
    return str(found[0])


def _round(safe: server.Running, unsafe: server.Running, pictures: list[bytes], count: int, number: int) -> Any:
    seconds: dict[str, float] = {}
    for name in np.random.default_rng(number).permutation(["safe", "unsafe"]).tolist():
        running = safe if name == "safe" else unsafe
        with running.client() as client:
            seconds |= _teach(client, photos.distinct(pictures, count + SMALL), count, number, name)
    return {
        "accepted_s": seconds["accepted_safe"], "accepted_without_s": seconds["accepted_unsafe"],
        "accepted_ratio": seconds["accepted_safe"] / seconds["accepted_unsafe"],
        "added_ms_a_photo": (seconds["accepted_safe"] - seconds["accepted_unsafe"]) / count * 1e3,
        "small_job_s": seconds["job_safe"], "small_job_without_s": seconds["job_unsafe"],
    }  # fmt: skip


def _teach(client: Client, data: list[bytes], count: int, number: int, name: str) -> dict[str, float]:
    """Seconds until many are accepted, whose job is then cancelled, and those of a job of a few."""
    many = _labeled(data[:count], f"{number}-")
    jobs: list[dict[str, Any]] = []
    accepted = server.seconds(lambda: jobs.append(client.finetune(f"many-{number}", many, method="prototype")))
    client.cancel(jobs[0]["id"])
    few = _labeled(data[count:], f"{number}-")
    job = server.seconds(lambda: client.finetune(f"few-{number}", few, method="prototype", views="none", wait=60))
    return {f"accepted_{name}": accepted, f"job_{name}": job}


def _labeled(data: list[bytes], more: str) -> list[LabeledImage]:
    """New to the service at each round: decoders pass over what comes after the end of a JPEG."""
    files = [piece + more.encode() for piece in data]
    return [LabeledImage(f"{i}.jpg", lambda d=piece: d, f"class-{i % 2}") for i, piece in enumerate(files)]


if __name__ == "__main__":
    record.save("durability", main())
