"""The serving process of this checkout beside that of another one, in turns: seconds to ready, and MiB with its heads.

    git worktree add ../before COMMIT
    python -m benchmarks.footprints ../before

Each checkout teaches the same photos to 100 heads in a home of its own; then the server alone is started again and
again, one checkout after the other, asked each of its heads once, and looked at. A third side is this checkout in a
copy of the other's home: what differs from ours is what the home brings (a backbone with taps and heads that read
them), what differs from theirs is the code. `kept_…` is the other's figure over ours, so that 1 is the same and more is
better; `mib_of_one` is with one head alone, and `kib_a_head` what 99 more heads add. Limit: at least 0.98. The
packages are this environment's.
"""

import argparse
import random
import shutil
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks import footprint, photos, record, server
from service.client import Client

REPETITIONS = 5
HEADS = [f"head-{number}" for number in range(footprint.HEADS)]
MIN_KEPT = 0.98
MOVED = "ours in their home"
KIB = 1024
KEPT = {"ready": "ready_s", "mib": "mib", "mib_of_one": "mib_of_one"}


@dataclass(frozen=True, slots=True)
class Side:
    """A checkout and a home that it has taught."""

    checkout: Path
    home: Path

    def teach(self, pictures: list[tuple[bytes, str]]) -> None:
        """By plain forms, which every release understands."""
        files = [("images", (f"{i}.jpg", data, "image/jpeg")) for i, (data, _) in enumerate(pictures)]
        labels = [label for _, label in pictures]
        with server.serving_and_training(self.home, checkout=self.checkout) as running, running.client() as client:
            for seed, head in enumerate(HEADS):
                form = {"head": head, "method": "logistic", "seed": str(seed), "labels": labels}
                url = f"http://127.0.0.1:{running.port}/finetune"
                job = client.wait(httpx.post(url, files=files, data=form, timeout=60).raise_for_status().json()["id"])
                assert job["status"] == "succeeded", job

    def look(self, picture: bytes) -> dict[str, float]:
        """Start it once: seconds to ready, MiB with one head and with all, of its largest process."""
        began = time.perf_counter()
        with footprint.serving(self.home, self.checkout) as (mark, url), Client(url) as client:
            while not client.is_ready():
                time.sleep(0.02)
            ready = time.perf_counter() - began
            client.predict(HEADS[:1], [picture])
            first = max(server.resident_of(mark))
            for head in HEADS[1:]:
                client.predict([head], [picture])
            every = max(server.resident_of(mark))
        kib_a_head = (every - first) * KIB / (len(HEADS) - 1)
        return {"ready_s": ready, "mib": every, "mib_of_one": first, "kib_a_head": kib_a_head}


def main(other: Path) -> dict[str, Any]:
    """Measure and print; returns the results."""
    pictures = photos.crops(40)
    with ExitStack() as stack:
        sides = {}
        for name, checkout in (("ours", record.ROOT), ("theirs", other.resolve())):
            home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="espalier-bench-")))
            sides[name] = Side(checkout, home)
            sides[name].teach(pictures)
        moved = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="espalier-bench-"))) / "home"
        sides[MOVED] = Side(record.ROOT, Path(shutil.copytree(sides["theirs"].home, moved)))
        rounds = [_round(sides, pictures[0][0]) for _ in range(REPETITIONS + 1)]
    results: dict[str, Any] = {name: record.spread([r[name] for r in rounds[1:]]) for name in rounds[0]}
    results["limits"] = {name: MIN_KEPT for name in results if name.startswith("kept_")}
    results["notes"] = {"beside": f"commit {record.commit(other)}"}
    record.show(results)
    return results


def _round(sides: dict[str, Side], picture: bytes) -> dict[str, float]:
    found = {name: sides[name].look(picture) for name in random.sample(list(sides), len(sides))}
    told = {f"{figure}, {name}": value for name, look in sorted(found.items()) for figure, value in look.items()}
    for figure, key in KEPT.items():
        told[f"kept_{figure}"] = found["theirs"][key] / found["ours"][key]
        told[f"kept_{figure}, of the home alone"] = found[MOVED][key] / found["ours"][key]
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    record.save("footprints", main(parser.parse_args().other))
