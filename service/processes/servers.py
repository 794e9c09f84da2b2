"""Several processes that serve one port: how many, which one this is, and its part of what is bounded for all of them.

BentoML's arbiter opens the port and starts the processes, which take connections from it in turn. The arbiter reads
this file, so it imports next to nothing: `Settings` alone would cost 0.4 s before the first of them begins.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from adapters.runtime.onnx import processor

CORES = 8  # that one process keeps busy: Python takes 1 to 2 ms a request, a core does 100 to 200 images a second
SERVERS, DEVICE = "ESPALIER_SERVERS", "ESPALIER_DEVICE"
DEVICES = Path("/dev")
COUNTS = "ESPALIER_COUNTS"  # no setting: how the arbiter tells its processes where they count together


@dataclass(frozen=True, slots=True)
class ServingProcess:
    """One of the serving processes. The default is one that is alone."""

    number: int = 1  # a process that takes the place of a dead one has its number
    servers: int = 1

    def part(self, whole: int) -> int:
        """Its part of a bound for all. Parts add up to the whole, but each is at least 1 unless the whole is 0."""
        least, rest = divmod(whole, self.servers)
        return max(least + (self.number <= rest), min(whole, 1))

    def cores(self, lanes: int, allowed: Collection[int]) -> list[int]:
        """One for each of its lanes, where all processes together have as many as there are cores; else none."""
        if lanes != len(allowed) or self.servers > lanes:
            return []
        before = sum(ServingProcess(number, self.servers).part(lanes) for number in range(1, self.number))
        return sorted(allowed)[before : before + self.part(lanes)]


def count(environment: Mapping[str, str] = os.environ) -> int:
    """How many processes serve."""
    text = environment.get(SERVERS) or "0"
    if not text.isdecimal():
        raise ValueError(f"{SERVERS}={text!r} is not a number of processes")
    return int(text) or (1 if _better_alone(environment) else suitable(processor.cores()))


def suitable(cores: int) -> int:
    """Processes for so many cores."""
    return -(-cores // CORES)


def prepare() -> None:
    """In the arbiter, before it starts any: the same number for all, and a fresh folder where they count together."""
    os.environ.pop(COUNTS, None)
    servers = count()
    if servers > 1:
        folder = tempfile.mkdtemp(prefix="espalier-counts-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        os.environ.update({SERVERS: str(servers), COUNTS: folder})


def here() -> ServingProcess:
    """Which of them this process is."""
    if counts() is None:
        return ServingProcess()
    from bentoml import server_context

    return ServingProcess(server_context.worker_index or 1, count())


def counts() -> Path | None:
    """Where processes that serve together count what they do; None in one that is alone."""
    folder = os.environ.get(COUNTS)
    return Path(folder) if folder else None


def _better_alone(environment: Mapping[str, str]) -> bool:
    """One process fills the passes of a GPU best; and in BentoML's own images a dead one of several stays dead."""
    gpu = environment.get(DEVICE) != "cpu" and any(DEVICES.glob("nvidia[0-9]*"))
    return gpu or "BENTOML_CONTAINERIZED" in environment
