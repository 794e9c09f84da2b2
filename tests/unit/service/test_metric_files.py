"""Processes that serve together count together, and one that takes the place of a dead one counts on."""

import re
import subprocess
import sys
from pathlib import Path

from support.services import ROOT

from service.processes.servers import COUNTS, SERVERS

# A serving process, as far as counting goes: number, requests that it answers, heads that it holds, its generation.
PROCESS = """
import os, sys
from bentoml import server_context
number, requests, heads, generation = map(int, sys.argv[1:])
server_context.worker_index = number
from service import telemetry
from service.processes import metric_files
from prometheus_client import generate_latest
for _ in range(requests):
    telemetry.predicted(3, 2, 0.02)
telemetry.HEADS_LOADED.set(heads)
telemetry.GENERATION.set(generation)
telemetry.JOBS_UNFINISHED.set(requests)
print(generate_latest(metric_files.together(telemetry.REGISTRY)).decode(), flush=True)
os.kill(os.getpid(), 9)
"""


def page(folder: Path | None, *arguments: int) -> dict[str, float]:
    """What such a process shows at its end."""
    told = {COUNTS: str(folder), SERVERS: "2"} if folder else {}
    # BentoML names a folder for every process that it starts.
    env = {"PYTHONPATH": str(ROOT), "PROMETHEUS_MULTIPROC_DIR": "/nonexistent", **told}
    command = [sys.executable, "-W", "ignore", "-c", PROCESS, *map(str, arguments)]
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == -9, done.stderr
    return {name: float(value) for name, value in re.findall(r"^espalier_(\w+) (\S+)$", done.stdout, re.MULTILINE)}


def test_a_scrape_of_one_process_tells_of_all(tmp_path):
    page(tmp_path, 1, 5, 2, 7)
    shown = page(tmp_path, 2, 4, 1, 6)
    assert shown["predict_requests_total"] == 9 and shown["predict_inputs_total"] == 27
    assert shown["predict_seconds_count"] == 9 and shown["predictions_total"] == 54
    assert (shown["heads_loaded"], shown["generation"], shown["jobs_unfinished"]) == (3, 6, 4)


def test_a_process_that_takes_a_dead_ones_place_counts_on(tmp_path):
    page(tmp_path, 1, 5, 2, 7)
    page(tmp_path, 2, 4, 1, 6)
    shown = page(tmp_path, 1, 1, 9, 8)
    assert shown["predict_requests_total"] == 10, "no counter falls"
    assert (shown["heads_loaded"], shown["generation"]) == (10, 6), "the dead one holds nothing any more"
    assert len(list(tmp_path.glob("counter_*"))) == 2


def test_a_process_that_is_alone_writes_no_file(tmp_path):
    shown = page(None, 1, 5, 2, 7)
    assert (shown["predict_requests_total"], shown["heads_loaded"], shown["generation"]) == (5, 2, 7)
