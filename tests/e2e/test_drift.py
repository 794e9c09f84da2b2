"""Drift of a head over HTTP: what it is asked now against what it was taught."""

import pytest
from support.pictures import shape, shapes
from support.services import Service, espalier, eventually

pytestmark = pytest.mark.slow  # what it shows over HTTP, quick tests show of its parts


def taught(service: Service, head: str, kinds: tuple[str, ...] = ("circle", "square")) -> None:
    job = service.client.finetune(head, shapes(kinds, each=20), wait=60, method="prototype")
    assert service.client.wait(job["id"])["status"] == "succeeded"


def drift(service: Service, head: str, **query: object) -> dict:
    answer = service.http.get(f"/heads/{head}/drift", params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(service: Service, head: str, kind: str, count: int, start: int = 100) -> None:
    for first in range(start, start + count, 10):
        service.client.predict([head], [shape(kind, seed) for seed in range(first, first + 10)])


def test_what_is_asked_is_compared_with_what_was_taught(server):
    """As many of each as were taught is no drift; one kind only, and things never seen, are."""
    taught(server, "steady")
    taught(server, "drifting")
    assert drift(server, "steady")["answers"] == 0 and drift(server, "steady")["labels"]["level"] == "unknown"
    for start in range(100, 180, 10):
        for kind in ("circle", "square"):
            ask(server, "steady", kind, 10, start)
    ask(server, "drifting", "circle", 80)
    ask(server, "drifting", "cross", 80)
    steady = eventually(lambda: found if (found := drift(server, "steady"))["answers"] == 160 else None)
    moved = eventually(lambda: found if (found := drift(server, "drifting"))["answers"] == 160 else None)
    assert steady["labels"]["level"] != "major" and steady["labels"]["bins"] == ["circle", "square"]
    assert moved["novelty"]["level"] == "major" and moved["novelty"]["psi"] > steady["novelty"]["psi"]
    assert sum(moved["labels"]["asked"]) > 0.999 and moved["labels"]["taught"] == [0.5, 0.5]
    assert "novelty <b>major</b>" in server.client.report_page("drifting")
    said = espalier("heads", "drift", "drifting", "--server", server.url, home=server.home).stdout
    assert "novelty" in said and "major" in said


def test_other_versions_have_figures_of_their_own_and_none_is_a_404(server):
    taught(server, "apart")
    taught(server, "apart", ("triangle",))
    server.client.predict(["apart@1"], [shape("circle", 7)])
    eventually(lambda: drift(server, "apart", version=1)["answers"] == 1)
    assert drift(server, "apart")["version"] == 2 and drift(server, "apart")["answers"] == 0
    assert server.http.get("/heads/nobody/drift").json()["code"] == "head_not_found"
    assert server.http.get("/heads/apart/drift", params={"version": 9}).json()["code"] == "version_not_found"
    assert server.http.get("/heads/apart/drift", params={"hours": 0}).status_code == 422
