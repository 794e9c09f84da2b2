"""A long life: jobs one after another on a few heads, with deletes, while what must not grow is looked at.

    python -m benchmarks soak            # recorded, with every look in benchmarks/results/soak.jsonl
    python -m benchmarks.soak --looks    # figures of the looks that are recorded

Every head is taught three times and then deleted and begun anew; each job is followed by its events, its report and
predictions, as a user would. What was kept of ended jobs is swept as `keep_jobs` says, so files reach their bound.
Slopes are the median of those between any two looks after a warm-up (Theil and Sen), in MiB (or in files) for each
1,000 jobs: what malloc took for one job and gave back some looks later does not tilt such a line. A look takes the
least of readings while no job is asked for: a worker goes on for a moment after its job has ended (the learning curve,
up to 50 MiB) and gives back what it took only then, and a server does every 30 s (up to 6 MiB). `anonymous` leaves out
the pages of libraries and mapped files, which come and go with what else the machine does.

Limits: resident memory of server and worker grows by at most 1 MiB for each 1,000 jobs; descriptors, threads and files
stay flat.
"""

import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from benchmarks import record, server
from service.client import ApiError, Client, LabeledImage
from service.operations import memory

T = TypeVar("T")
Look = dict[str, float]
MIB = 2**20
CLASSES, EACH, SIDE = 3, 4, 32
LESSONS = 3  # of a head before it is deleted
TRIES = 10  # of what the service is too busy for
BETWEEN = 0.5  # seconds from one reading to the next
LOOKS = record.RESULTS / "soak.jsonl"  # of the last run
MAX_SLOPE = 1.0  # MiB for each 1,000 jobs
FLAT = 5.0  # descriptors, threads or MiB of files for each 1,000 jobs


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is done."""

    jobs: int
    heads: int
    warm_up: int  # jobs before slopes are taken
    every: int  # jobs between looks
    keep_jobs: int  # setting of the service
    looking: float  # seconds of a look


# Looked at in the same moment of the heads' lives: from one deletion to the next the server moves by 6 MiB. What malloc
# keeps for so many heads is found by job 1,250: until there the server grew by 3 to 4 MiB in each of three runs.
FULL = Plan(2600, 30, 1250, 30 * LESSONS, 200, memory.EVERY + 1)
QUICK = Plan(60, 5, 20, 5, 20, 2.0)


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    looks, failed = list[Look](), 0
    with server.running(record.ROOT, **_settings(plan)) as running, running.client() as client:
        for done in range(plan.jobs):
            failed += not _life(client, plan, done)
            if 2 * done >= plan.warm_up and done % plan.every == 0:
                looks.append({"jobs": done, "failed_jobs": failed} | look(running.home, plan.looking))
                print(" ", time.strftime("%H:%M:%S"), *(f"{k}={v:.1f}" for k, v in looks[-1].items()), flush=True)
    if not quick:
        LOOKS.write_text("".join(json.dumps(each) + "\n" for each in looks))
    return _shown(looks, plan)


def _shown(looks: list[Look], plan: Plan) -> dict[str, Any]:
    found = _figures([each for each in looks if each["jobs"] >= plan.warm_up])
    record.show(found)
    return found


def _settings(plan: Plan) -> dict[str, str]:
    quick = {"ESPALIER_SWEEP_SECONDS": "5", "ESPALIER_WORKER_NICENESS": "0"}
    return quick | {"ESPALIER_KEEP_JOBS": str(plan.keep_jobs)}


def _life(client: Client, plan: Plan, number: int) -> bool:
    """One job and what belongs to it; False where it failed, which is told: there is nothing to look at then."""
    turn, head = divmod(number, plan.heads)
    name = f"head-{head}"
    if turn and turn % LESSONS == 0:
        _delete(client, name)
    images = list(_images(number))
    taught = _again(lambda: client.finetune(name, images, method="prototype", views="none", wait=60))
    job = client.wait(taught["id"])
    for _ in client.events(job["id"]):
        pass
    if job["status"] != "succeeded" and job["version"] is None:
        print(f"  job {number} of {name}: {job['status']}: {job['error']}", flush=True)
        return False
    client.report(name)
    client.predict([name], [bytes(images[0].data()) for _ in range(2)])
    return True


def _delete(client: Client, name: str) -> None:
    try:
        _again(lambda: client.delete_head(name))
    except ApiError as error:
        if error.status != 404:  # all of its jobs failed
            raise


def _again(work: Callable[[], T]) -> T:
    """As a client should: once more when it is told that the database is busy, as it is on a crowded machine."""
    for _ in range(TRIES):
        try:
            return work()
        except ApiError as error:
            if error.status != 503:
                raise
        time.sleep(1)
    raise TimeoutError(f"the service was busy in {TRIES} tries")


def _images(number: int) -> Iterator[LabeledImage]:
    """Noise in the colours of the classes, other noise for each job."""
    random = np.random.default_rng(number)
    for i in range(CLASSES * EACH):
        colour = 60 + 60 * np.roll(np.arange(CLASSES), i)
        pixels = random.normal(colour, 25, (SIDE // 4, SIDE // 4, 3)).clip(0, 255).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels.repeat(4, 0).repeat(4, 1)).save(file, "PNG")
        yield LabeledImage(f"{number}-{i}.png", file.getvalue, f"class-{i % CLASSES}")


def look(home: Path, seconds: float) -> dict[str, float]:
    """MiB resident, descriptors and threads of the serving process and of the worker, and what lies in the home."""
    pids = server.marked(f"ESPALIER_HOME={home}")
    worker = [pid for pid in pids if "service.cli worker" in server.command(pid)]
    serving = max((pid for pid in pids if pid not in worker), key=server.resident)
    chosen = {"server": serving, "worker": max(worker, key=server.resident)}
    readings = [_reading(chosen) for _ in range(round(seconds / BETWEEN))]
    return {name: min(reading[name] for reading in readings) for name in readings[0]} | _files(home)


def _reading(pids: dict[str, int]) -> dict[str, float]:
    time.sleep(BETWEEN)
    found: dict[str, float] = {}
    for name, pid in pids.items():
        found |= {
            f"{name}_mib": server.resident(pid), f"{name}_anonymous_mib": server.anonymous(pid),
            f"{name}_descriptors": float(len(_listed(pid, "fd"))),
            f"{name}_threads": float(len(_listed(pid, "task"))),
        }  # fmt: skip
    return found


def _listed(pid: int, folder: str) -> list[Path]:
    return list(Path(f"/proc/{pid}/{folder}").iterdir())


def _files(home: Path) -> dict[str, float]:
    sizes: dict[str, int] = {}
    for path in home.rglob("*"):
        try:
            size = path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # deleted meanwhile
            continue
        kind = path.name.partition(".")[0] if path.parent == home else path.relative_to(home).parts[0]
        sizes[kind] = sizes.get(kind, 0) + size
    chosen = {"database": "espalier", "jobs_database": "jobs", "artifacts": "artifacts"}
    return {f"{name}_mib_on_disk": sizes.get(kind, 0) / MIB for name, kind in chosen.items()}


def _figures(looks: list[Look]) -> dict[str, Any]:
    """Slopes and levels of everything that was looked at."""
    seen = {name: np.array([each[name] for each in looks]) for name in looks[0]}
    jobs, failed = seen.pop("jobs"), seen.pop("failed_jobs")
    found: dict[str, Any] = {name: record.spread(values.tolist()) for name, values in seen.items()}
    slopes = {name: 1000 * _slope(jobs, values) for name, values in seen.items()}
    found |= {f"{name}_slope_for_1000_jobs": record.spread([slope]) for name, slope in slopes.items()}
    most = {f"{name}{kind}": MAX_SLOPE for name in ("server", "worker") for kind in ("_mib", "_anonymous_mib")}
    limits = {f"{name}_slope_for_1000_jobs": most.get(name, FLAT) for name in seen}
    return found | {"failed_jobs": record.spread([float(failed.max())]), "limits": limits}


def _slope(along: Any, values: Any) -> float:
    first, second = np.triu_indices(len(along), 1)
    return float(np.median((values[second] - values[first]) / (along[second] - along[first])))


if __name__ == "__main__":
    recorded = "--looks" in sys.argv[1:]
    record.save("soak", _shown([*map(json.loads, LOOKS.read_text().splitlines())], FULL) if recorded else main())
