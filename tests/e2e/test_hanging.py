"""A process that was stopped and is not continued is replaced, whichever of a running service it is."""

import os
import signal

import pytest
from support.pictures import shape, shapes
from support.services import Service, command_line, eventually

WORDS = {"server": "_bentoml_impl.worker", "arbiter": "bentoml serve", "worker": "service.cli worker"}


@pytest.mark.slow
@pytest.mark.parametrize("which", [pytest.param("server"), pytest.param("arbiter"), pytest.param("worker")])
def test_a_process_that_hangs_is_replaced(own_server, which):
    """And the service teaches and answers as before."""
    service: Service = own_server(hang_seconds=4)
    job = service.client.finetune("shapes", shapes(), method="prototype")
    assert service.client.wait(job["id"])["status"] == "succeeded"
    hanging = service.pids(WORDS[which])[0]
    os.kill(hanging, signal.SIGSTOP)
    eventually(lambda: not command_line(hanging))
    # What served beside it goes before another comes.
    eventually(lambda: [pid for pid in service.pids(WORDS[which]) if pid != hanging])
    eventually(lambda: service.client.predict(["shapes"], [shape("circle", 5)])["predictions"])
    job = eventually(lambda: service.client.finetune("again", shapes(), method="prototype"))
    assert service.client.wait(job["id"])["status"] == "succeeded"
    assert f"process {hanging} gives no sign of life" in service.log.read_text()
