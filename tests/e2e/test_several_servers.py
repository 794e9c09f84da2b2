"""Several serving processes behind one port: all serve every head, count together, and are replaced when they die."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.mmap_dict import MmapedDict
from support.pictures import shape, shapes
from support.services import Service, command_line, eventually, kill
from test_overload import metric

SERVER, ARBITER = "_bentoml_impl.worker.service", "bentoml serve"
IMAGE = shape("square", 91)


@pytest.fixture
def service(own_server) -> Service:
    running = own_server(servers=2, threads=2, max_waiting=1000)
    job = running.client.finetune("shapes", shapes(), method="prototype")
    assert running.client.wait(job["id"])["status"] == "succeeded"
    return running


def counts(service: Service) -> Path:
    """The folder where the processes count."""
    pid = eventually(lambda: service.pids(SERVER))[0]
    lines = Path(f"/proc/{pid}/environ").read_text().split("\0")
    return Path(next(line for line in lines if line.startswith("ESPALIER_COUNTS=")).partition("=")[2])


def answered(service: Service) -> dict[str, float]:
    """Answered /predict requests of each process, by its number."""
    found = {}
    for file in counts(service).glob("counter_*.db"):
        values = {key: value for key, value, *_ in MmapedDict.read_all_values_from_file(str(file))}
        found[file.stem] = next(v for key, v in values.items() if '"espalier_predict_requests_total"' in key)
    return found


def ask(service: Service) -> str:
    """The label that a connection of its own gets."""
    form = {"data": {"head": "shapes"}, "files": {"images": IMAGE}}
    answer = httpx.post(f"{service.url}/predict", timeout=60, **form)
    assert answer.status_code == 200, answer.text
    return answer.json()["predictions"][0]["label"]


def ask_until_both_have_answered(service: Service, already: dict[str, float]) -> int:
    """How many requests that took; many at a time, because one that is idle may take all that come one by one."""
    asked = 0

    def both() -> bool:
        nonlocal asked
        with ThreadPoolExecutor(16) as pool:
            assert set(pool.map(lambda _: ask(service), range(64))) == {"square"}
        asked += 64
        now = answered(service)
        return len(now) == 2 and all(now[name] > already.get(name, 0) for name in now)

    eventually(both)
    return asked


@pytest.mark.slow
def test_both_processes_serve_count_together_and_are_replaced_when_they_die(service):
    asked = ask_until_both_have_answered(service, {})
    assert metric(service, "predict_requests_total") == metric(service, "predict_seconds_count") == asked
    assert metric(service, "backbone_seconds_count") + metric(service, "inputs_shared_total") == asked
    eventually(lambda: metric(service, "heads_loaded") == 2)
    eventually(lambda: metric(service, "inputs_waiting") == 0)  # each process says so once a second
    assert metric(service, "jobs_unfinished") == 0

    # One dies: the other goes on, and its successor counts on where it stopped.
    victim, other = service.pids(SERVER)
    before = answered(service)
    kill(victim)
    eventually(lambda: not command_line(victim))
    assert {ask(service) for _ in range(10)} == {"square"}
    asked += 10
    eventually(lambda: len(service.pids(SERVER)) == 2)
    assert victim not in service.pids(SERVER) and other in service.pids(SERVER)
    before = answered(service)
    asked += ask_until_both_have_answered(service, before)
    assert metric(service, "predict_requests_total") == asked
    eventually(lambda: metric(service, "heads_loaded") == 2)

    # A version that is published reaches both, and nothing is left behind at the end.
    generation = metric(service, "generation")
    job = service.client.finetune("shapes", shapes(start=300), method="prototype")
    assert service.client.wait(job["id"])["status"] == "succeeded"
    eventually(lambda: metric(service, "generation") > generation)
    folder = counts(service)
    service.stop()
    assert not folder.exists()
    assert "Traceback" not in service.log.read_text()


@pytest.mark.slow
def test_an_arbiter_that_dies_takes_its_processes_along(service):
    """Its successor's are new ones, which count from nothing in a folder of their own."""
    (arbiter,), old, folder = service.pids(ARBITER), service.pids(SERVER), counts(service)
    ask(service)
    kill(arbiter)
    eventually(lambda: not any(command_line(pid) for pid in old))
    eventually(lambda: len(service.pids(SERVER)) == 2 and service.client.is_ready())
    assert ask(service) == "square"
    assert metric(service, "predict_requests_total") == 1 and counts(service) != folder
    shutil.rmtree(folder)  # which an arbiter that is killed leaves behind


def test_serving_processes_and_worker_are_scheduled_as_one_session(service):
    """Between sessions the kernel would let training hold predictions up; each is ended as a group of its own."""
    assert service.process is not None
    servers, worker = service.pids(SERVER), service.pids("service.cli worker")
    assert len(servers) == 2 and len(worker) == 1
    assert {os.getsid(pid) for pid in [*servers, *worker]} == {os.getsid(service.process.pid)}
    assert [os.getpgid(pid) for pid in [*servers, *worker]] == [*servers, *worker]
