"""A whole installation for a benchmark: that of the tests, with real Postgres, S3 and processes (tests/support)."""

import contextlib
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.record import ROOT

sys.path.append(str(ROOT / "tests"))
from support import topology
from support.balancer import Balancer
from support.pictures import shapes
from support.recorder import Recorder
from support.services import espalier, eventually
from support.topology import Cluster, restarting


@contextlib.contextmanager
def running(replicas: int = 2, workers: int = 2, proxied: bool = True, **settings: object) -> Iterator[Cluster]:
    """So many of each, ready, in a folder that goes with them; `proxied`: their services can be cut off."""
    with tempfile.TemporaryDirectory(prefix="espalier-bench-") as folder:
        home = Path(folder) / "cluster"
        with topology.running(home, replicas, workers, plan=None, proxied=proxied, **settings) as cluster:
            yield cluster


__all__ = ["Balancer", "Cluster", "Recorder", "espalier", "eventually", "restarting", "running", "shapes"]
