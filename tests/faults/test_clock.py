"""Clocks that are wrong: jobs of a head run in the order in which they were accepted."""

import os
from pathlib import Path

import pytest
from support.pictures import shapes
from support.recorder import Recorder
from support.services import Service

pytestmark = pytest.mark.slow
LIBRARIES = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))


@pytest.fixture(params=["-2h", "+1d"])
def astray(request, recorder: Recorder, monkeypatch):
    """A second server on the same home with another idea of the time."""
    if not LIBRARIES:
        pytest.skip("there is no libfaketime: apt-get install faketime")
    wrong = {"LD_PRELOAD": str(LIBRARIES[0]), "FAKETIME": request.param, "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    for name, value in (wrong | {"DONT_FAKE_MONOTONIC": "1"}).items():
        monkeypatch.setenv(name, value)
    service = Service(recorder.service.home, {})
    service.start()
    for name in wrong:
        monkeypatch.delenv(name)
    assert "LD_PRELOAD" not in os.environ
    yield service
    service.stop()


def test_a_server_whose_clock_is_wrong_keeps_the_order_of_acceptance(checked, astray):
    """A job on another head keeps the worker busy until both are accepted."""
    head = f"clock-{astray.port}"
    busy = checked.held("training")
    first = checked.teach(head, mode="replace")
    second = astray.client.finetune(head, shapes(each=6, start=9000), mode="replace", method="prototype")["id"]
    checked.accepted.append(second)
    third = checked.teach(head, mode="replace")
    checked.go()
    assert [checked.end(job)["version"] for job in (first, second, third)] == [1, 2, 3]
    assert checked.end(busy)["status"] == "succeeded"
    listed = [job["id"] for job in checked.service.client.jobs(head=head)]
    assert listed == [third, second, first], "the last accepted first"
