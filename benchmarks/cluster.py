"""A whole installation for a benchmark: that of the tests, with real Postgres, S3 and processes (tests/support)."""

import contextlib
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from benchmarks.record import ROOT

sys.path.append(str(ROOT / "tests"))
from support import topology
from support.balancer import Balancer
from support.recorder import Recorder
from support.topology import Cluster

BACK_OFF = 1.0  # seconds until what has died is started again, as an orchestrator does


@contextlib.contextmanager
def running(replicas: int = 2, workers: int = 2, **settings: object) -> Iterator[Cluster]:
    """So many of each, ready, in a folder that goes with them."""
    with tempfile.TemporaryDirectory(prefix="espalier-bench-") as folder:
        with topology.running(Path(folder) / "cluster", replicas, workers, **settings) as cluster:
            yield cluster


@contextlib.contextmanager
def restarting(cluster: Cluster) -> Iterator[None]:
    """Whatever of ours dies meanwhile is started again."""
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(BACK_OFF):
            for member in cluster.members:
                if not member.is_running:
                    member.start()

    watcher = threading.Thread(target=look, name="restarting")
    watcher.start()
    try:
        yield
    finally:
        stop.set()
        watcher.join()


__all__ = ["Balancer", "Cluster", "Recorder", "restarting", "running"]
