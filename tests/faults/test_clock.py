"""Clocks that are wrong: jobs of a head run as they were accepted, and none is taken from its worker.

On SQLite all that share a database share a machine, and so a clock: only a server is made to see another time there.
With PostgreSQL the hosts' clocks may differ: leases go by the database's.
"""

import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from support import own_postgres
from support.pictures import shapes
from support.recorder import Recorder
from support.services import ROOT, environment, free_port
from support.topology import Replica

from adapters.store import database, jobs, leases
from adapters.types import Example, JobRequest

pytestmark = pytest.mark.slow
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.fixture(params=["-2h", "+1d"])
def wrong(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment of a process with another idea of the time."""
    if not LIBRARIES:
        pytest.skip("there is no libfaketime: apt-get install faketime")
    monotonic = {"FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1"}
    return {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME": request.param} | monotonic


@pytest.fixture
def astray(wrong: dict[str, str], recorder: Recorder, tmp_path: Path) -> Iterator[Replica]:
    """A second serving process on the same home; it has no worker of its own."""
    port = free_port()
    command = [sys.executable, "-m", "bentoml", "serve", "service.app:Espalier", "--host", "127.0.0.1"]
    settings = environment(recorder.service.home, servers=1) | wrong
    replica = Replica("astray", [*command, "--port", str(port)], settings, tmp_path / "astray.log", port=port)
    try:
        replica.again()
        yield replica
    finally:
        replica.stop()
        replica.client.close()


def test_a_server_whose_clock_is_wrong_keeps_the_order_of_acceptance(checked, astray):
    """A job on another head keeps the worker busy until all are accepted."""
    head = f"clock-{astray.port}"
    busy = checked.held("training")
    first = checked.teach(head, mode="replace")
    options = {"mode": "replace", "method": "prototype"}
    second = astray.client.finetune(head, shapes(each=6, start=9000), **options)
    checked.accepted.append(second["id"])
    third = checked.teach(head, mode="replace")
    checked.go()
    ended = [checked.end(job) for job in (first, second["id"], third)]
    assert [job["version"] for job in ended] == [1, 2, 3], [job["error"] for job in ended]
    assert checked.end(busy)["status"] == "succeeded"
    asked = [job["created_at"] for job in ended]
    assert asked != sorted(asked), "the clock was not wrong"
    listed = [job["id"] for job in checked.service.client.jobs(head=head)]
    assert listed == [third, second["id"], first], "the last accepted first"


CLAIM = """
import sys
from adapters.store import database, leases
engine = database.connect(sys.argv[1])
print(database.now().isoformat(), leases.claim(engine, "astray"))
"""


@pytest.mark.postgres
def test_a_worker_whose_clock_is_wrong_takes_no_job_from_another(wrong: dict[str, str], tmp_path: Path):
    """On PostgreSQL, where workers have hosts of their own: what one is at work on stays its own."""
    with own_postgres.running() as postgres:
        engine = database.connect(postgres.url())
        database.migrate(engine)
        example = Example("0" * 64, "circle", "circle.png")
        jobs.create(engine, JobRequest("held"), [example], fingerprint="f", idempotency_key=None)
        lease = leases.claim(engine, "right")
        command = [sys.executable, "-c", CLAIM, postgres.url()]
        told = subprocess.run(
            command, env=environment(tmp_path) | wrong, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
        ).stdout.split()
        leases.renew(engine, lease)
        seconds = abs((database.now() - datetime.fromisoformat(told[0])).total_seconds())
        engine.dispose()
    assert seconds > 3600, "the clock was not wrong"
    assert told[1] == "None"
