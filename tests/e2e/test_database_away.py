"""A database that is locked or does not answer: 503 with `Retry-After` soon, on every route, and no 500 on any.

No test measures time: each bound is many times what it takes, and a small part of the half minute that it took.
"""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from support.databases import locked
from support.fault_proxy import FaultProxy
from support.own_postgres import running
from support.pictures import shape, shapes
from support.recorder import check_history
from support.services import Service, espalier, eventually

LONGEST = 15.0  # seconds; with ESPALIER_DATABASE_SECONDS=1 an answer takes about one
PUT = {"version": 1}
READS = ("/heads", "/heads/pets", "/heads/pets/versions/1", "/heads/pets/report", "/heads/pets/examples", "/jobs",
         "/jobs/job_none", "/jobs/job_none/events", "/backbones", "/methods")  # fmt: skip
WRITES = (("PUT", "/heads/pets/aliases/x"), ("DELETE", "/heads/pets"), ("DELETE", "/heads/pets/versions/1"),
          ("DELETE", "/heads/pets/aliases/x"))  # fmt: skip


def teach(service: Service) -> None:
    service.client.finetune("pets", shapes(), wait=60, method="prototype")


def ask(service: Service, method: str, path: str, **options: object) -> httpx.Response:
    """Raises httpx.ReadTimeout where nothing comes."""
    return httpx.request(method, f"{service.url}{path}", timeout=LONGEST, **options)


def predict(service: Service, head: str = "pets") -> httpx.Response:
    picture = {"content": shape("circle", 1), "headers": {"Content-Type": "image/png"}}
    return ask(service, "POST", f"/predict?head={head}", **picture)


def is_away(answer: httpx.Response) -> bool:
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable"), answer.text
    words = answer.text.lower()
    assert int(answer.headers["retry-after"]) > 0 and "sql" not in words and "127.0.0.1" not in words
    return True


def test_reads_do_not_wait_for_a_writer_and_writers_are_told_to_come_back(own_server):
    """Sixty writers at once, more than there are threads or connections."""
    service = own_server(database_seconds=1)
    teach(service)
    assert predict(service).status_code == 200
    with locked(service.home), ThreadPoolExecutor(60) as pool:
        began = time.monotonic()
        writes = [pool.submit(ask, service, "PUT", "/heads/pets/aliases/x", json=PUT) for _ in range(60)]
        for path in ("/heads", "/heads/pets", "/jobs", "/livez", "/readyz", "/metrics"):
            assert ask(service, "GET", path).status_code == 200
        assert [predict(service, head).status_code for head in ("pets", "nobody")] == [200, 404]
        assert all(is_away(write.result()) for write in writes)
        assert time.monotonic() - began < LONGEST
        for method, path in WRITES:
            assert ask(service, method, path, **({"json": PUT} if method == "PUT" else {})).status_code in (503, 404)
        form = {"files": [("images", i.data()) for i in shapes()], "data": {"labels": [i.label for i in shapes()]}}
        assert is_away(ask(service, "POST", "/finetune", files=form["files"], data=form["data"] | {"head": "more"}))
    assert ask(service, "PUT", "/heads/pets/aliases/x", json=PUT).status_code == 200
    assert "espalier_database_unavailable_total 0.0" not in ask(service, "GET", "/metrics").text
    check_history(service)


@pytest.mark.slow
@pytest.mark.postgres
def test_a_database_that_swallows_packets_holds_up_nobody(tmp_path: Path):
    """The server is there and says nothing: heads in memory are answered, all else is told to come back; it heals."""
    with running() as postgres, FaultProxy(postgres.port) as proxy:
        settings = {
            "database_url": postgres.url(proxy.port),
            "artifacts_url": tmp_path / "blobs",
            "database_seconds": 1,
        }
        home = tmp_path / "home"
        espalier("init", home=home, **settings)
        service = Service(home, settings)
        try:
            service.start()
            teach(service)
            assert predict(service).status_code == 200
            proxy.set("swallow")
            _holds_up_nobody(service)
            proxy.set("ok")
            assert eventually(lambda: ask(service, "GET", "/heads").status_code == 200)
            assert eventually(lambda: ask(service, "PUT", "/heads/pets/aliases/x", json=PUT).status_code == 200)
            proxy.set("refuse")
            assert predict(service).status_code == 200 and is_away(ask(service, "GET", "/heads"))
            proxy.set("ok")
            assert eventually(lambda: ask(service, "GET", "/heads").status_code == 200)
            check_history(service)
        finally:
            proxy.set("ok")
            service.stop()


def _holds_up_nobody(service: Service) -> None:
    for path in ("/livez", "/readyz", "/metrics"):
        assert ask(service, "GET", path).status_code == 200
    assert predict(service).status_code == 200
    with ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(ask, service, "GET", path) for path in READS * 3]
        asked += [pool.submit(predict, service, f"nobody-{number}") for number in range(20)]
        began = time.monotonic()
        assert Counter(a.result().status_code for a in asked) == {503: len(asked)}
        assert time.monotonic() - began < LONGEST
    assert all(is_away(a.result()) for a in asked)
    for method, path in WRITES:
        assert is_away(ask(service, method, path, **({"json": PUT} if method == "PUT" else {})))
    assert predict(service).status_code == 200
