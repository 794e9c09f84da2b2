"""/finetune end to end, from the first byte sent to the version that serves.

Limits: 1,000 new photos at most 1.3 times decode + embed alone, with the same threads; 1,000 cached ones of 10
classes at most 1.5 s.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from adapters.runtime.onnx import processor
from benchmarks import photos, record, server
from benchmarks.serving import bare
from service.client import Client, LabeledImage

PHOTOS = 1000
REPETITIONS = 5
MAX_RATIO = 1.3
MAX_CACHED = 1.5  # seconds


def main() -> dict[str, Any]:
    """Measure and print; returns the results."""
    rounds = []
    with server.running() as running, running.client() as client:
        _finetune(client, "bench", photos.crops(64, seed=99))  # the worker has its torch, the bare loop its head
        one = bare(running.home)
        for number in range(REPETITIONS):
            pictures = photos.crops(PHOTOS, seed=number)
            alone = server.seconds(lambda p=pictures: _embed(one, [data for data, _ in p]))
            new = server.seconds(lambda p=pictures, n=number: _finetune(client, f"new-{n}", p))
            cached = server.seconds(lambda p=pictures, n=number: _finetune(client, f"cached-{n}", p))
            rounds.append({"decode_embed_s": alone, "new_s": new, "new_ratio": new / alone, "cached_s": cached})
    results = {name: record.spread([r[name] for r in rounds]) for name in rounds[0]}
    results["limits"] = {"new_ratio": MAX_RATIO, "cached_s": MAX_CACHED}
    for name, row in results.items():
        print(f"  {name:34} {row}")
    return results


def _embed(one: Any, pictures: list[bytes]) -> None:
    with ThreadPoolExecutor(processor.cores()) as pool:
        list(pool.map(one, pictures))


def _finetune(client: Client, head: str, pictures: list[tuple[bytes, str]]) -> None:
    images = [LabeledImage(f"{i}.jpg", lambda d=data: d, label) for i, (data, label) in enumerate(pictures)]
    job = client.finetune(head, images, wait=60)
    job = job if job["finished_at"] else client.wait(job["id"])
    assert job["status"] == "succeeded", job["error"]


if __name__ == "__main__":
    record.save("finetuning", main())
