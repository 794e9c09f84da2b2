"""Do huge pages, fewer arenas of malloc or none of ONNX Runtime's pay? `python -m benchmarks allocators`.

Each way is a process of its own, as what is asked of an allocator is asked at its start: a session of the embedded
backbone, as served, in a thread a core; images a second, and MiB resident at the end. Ways take turns. `ratio` is
against `as_served` in the same round.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from adapters.runtime.onnx import processor, session
from benchmarks import record, threads

REPETITIONS = 7
SECONDS = 3.0  # of each turn
HUGE = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}  # malloc asks for transparent huge pages (glibc 2.35)
WAYS: dict[str, tuple[bool, dict[str, str]]] = {  # ONNX Runtime's arena, environment
    "as_served": (True, {}),
    "huge_pages": (True, HUGE),
    "two_arenas": (True, {"MALLOC_ARENA_MAX": "2"}),
    "no_ort_arena": (False, {}),
    "no_ort_arena_huge_pages": (False, HUGE),
}


def main() -> dict[str, Any]:
    """Measure and print; returns the results."""
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.onnx"
        graph.write_bytes(threads.embedded_graph())
        rounds = [{name: _turn(graph, *way) for name, way in WAYS.items()} for _ in range(REPETITIONS + 1)][1:]
    results: dict[str, Any] = {}
    for name in WAYS:
        results[f"{name}_images_per_second"] = record.spread([r[name][0] for r in rounds])
        results[f"{name}_ratio"] = record.spread([r[name][0] / r["as_served"][0] for r in rounds])
        results[f"{name}_resident_mib"] = record.spread([r[name][1] for r in rounds])
    record.show(results)
    return results


def _turn(graph: Path, arena: bool, environment: dict[str, str]) -> tuple[float, float]:
    command = [sys.executable, "-m", "benchmarks.allocators", str(graph), str(int(arena))]
    ran = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    speed, resident = ran.stdout.split()
    return float(speed), float(resident)


def _child(graph: str, arena: bool) -> tuple[float, float]:
    """Images a second of a thread a core, and MiB resident."""
    made = session.create(graph, arena=arena)
    pixels = {"pixels": threads.PIXELS}
    counts = [0] * processor.cores()
    made.run(["pooled"], pixels)
    began = time.perf_counter()

    def loop(lane: int) -> None:
        while time.perf_counter() < began + SECONDS:
            made.run(["pooled"], pixels)
            counts[lane] += 1

    lanes = [threading.Thread(target=loop, args=(lane,)) for lane in range(len(counts))]
    for lane in lanes:
        lane.start()
    for lane in lanes:
        lane.join()
    return sum(counts) / (time.perf_counter() - began), _resident()


def _resident() -> float:
    line = next(row for row in Path("/proc/self/status").read_text().splitlines() if row.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    print(*_child(sys.argv[1], sys.argv[2] == "1"))
