"""Hard inputs over HTTP: kept where that is on, listed, labeled, learned, and deleted when it is switched off."""

import hashlib

import pytest
from support.pictures import shape, shapes
from support.services import Service, espalier, eventually

from service.client import ApiError

pytestmark = pytest.mark.slow  # what it shows over HTTP, quick tests show of its parts

HEAD = "sampled"


def taught(service: Service, head: str) -> None:
    job = service.client.finetune(head, shapes(("circle", "square"), each=20), wait=60, method="prototype")
    assert service.client.wait(job["id"])["status"] == "succeeded"


def outcomes(service: Service) -> dict[str, float]:
    said = service.http.get("/metrics").text.splitlines()
    lines = [line for line in said if line.startswith("espalier_samples_total")]
    return {line.split('"')[1]: float(line.rsplit(" ", 1)[1]) for line in lines}


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_hard_inputs_are_kept_labeled_and_learned_only_where_that_is_on(server):
    """Circles and squares are easy; crosses, which nobody taught it, are novel. Another head keeps nothing."""
    client = server.client
    taught(server, HEAD)
    taught(server, "private")
    assert client.sampling(HEAD) | {"head": ""} == {
        "head": "", "enabled": False, "keep": None, "days": None, "since": None, "samples": 0, "bytes": 0,
    }  # fmt: skip
    crosses = [shape("cross", seed) for seed in range(300, 312)]
    client.predict([HEAD], crosses)
    on = client.set_sampling(HEAD, True, keep=50)
    assert on["enabled"] and on["keep"] == 50 and on["days"] == 30 and on["samples"] == 0
    easy = [shape(kind, seed) for kind in ("circle", "square") for seed in range(5)]  # that it was taught

    def asked() -> int:
        client.predict([HEAD, "private"], easy[:4] + crosses)
        return client.sampling(HEAD)["samples"]

    assert eventually(asked, pause=0.5) > 0
    found = list(client.samples(HEAD))
    assert {one["sha256"] for one in found} <= {digest(data) for data in crosses}, "nothing easy, nothing taught"
    assert all("novel" in one["why"] and one["version"] == 1 and "novelty" in one["answer"] for one in found)
    assert [one["hardness"] for one in found] == sorted((one["hardness"] for one in found), reverse=True)
    first = found[0]["sha256"]
    assert digest(client.sample_image(HEAD, first)) == first
    assert client.sampling("private")["samples"] == 0 and list(client.samples("private")) == []
    assert outcomes(server)["kept"] >= len(found)

    labels = {one["sha256"]: "cross" for one in found}
    job = client.label_samples(HEAD, labels, idempotency_key="once")
    assert client.wait(job["id"])["status"] == "succeeded"
    assert client.label_samples(HEAD, labels, idempotency_key="once")["id"] == job["id"], "although they are gone"
    assert {e["sha256"] for e in client.examples(HEAD, label="cross")} == set(labels)
    assert not {one["sha256"] for one in client.samples(HEAD)} & set(labels)
    with pytest.raises(ApiError, match="is kept") as refused:
        client.label_samples(HEAD, labels)
    assert refused.value.code == "sample_not_found"

    client.set_sampling(HEAD, False)
    assert client.sampling(HEAD)["samples"] == 0 and not client.sampling(HEAD)["enabled"]
    assert {e["sha256"] for e in client.examples(HEAD, label="cross")} == set(labels), "examples stay"


def test_the_command_line_switches_lists_labels_and_deletes(server, tmp_path):
    taught(server, "by-hand")
    at = ("--server", server.url)
    said = espalier("samples", "on", "by-hand", "--keep", "5", *at, home=server.home).stdout
    assert "at most 5" in said
    images = [shape("cross", seed) for seed in range(400, 410)]

    def asked() -> bool:
        server.client.predict(["by-hand"], images)
        return server.client.sampling("by-hand")["samples"] >= 2

    eventually(asked, pause=0.5)
    espalier("samples", "list", "by-hand", "--inputs", str(tmp_path / "hard"), *at, home=server.home)
    names = sorted(path.name for path in (tmp_path / "hard").iterdir())
    assert 2 <= len(names) <= 5 and all(digest((tmp_path / "hard" / name).read_bytes()) == name for name in names)
    server.client.set_sampling("by-hand", True, keep=5, days=1)
    wrong = espalier("samples", "label", "by-hand", f"{'0' * 64}=cross", *at, home=server.home, check=False)
    assert wrong.returncode and "sample_not_found" in wrong.stderr
    espalier("samples", "delete", "by-hand", "--all", *at, home=server.home)
    said = espalier("samples", "off", "by-hand", *at, home=server.home).stdout
    assert "off, 0 samples" in said


def test_what_cannot_be_is_said(server):
    taught(server, "bounded")
    on = {"enabled": True}
    for body in ({"enabled": "yes"}, on | {"keep": 0}, on | {"keep": 501}, on | {"days": 0}, {}):
        assert server.http.put("/heads/bounded/sampling", json=body).status_code == 422, body
    for way, path in (("GET", "sampling"), ("GET", "samples"), ("DELETE", "samples")):
        assert server.http.request(way, f"/heads/nobody/{path}").json()["code"] == "head_not_found"
    there = f"/heads/bounded/samples/{'0' * 64}"
    assert server.http.get(f"{there}/image").json()["code"] == "sample_not_found"
    assert server.http.delete(there).json()["code"] == "sample_not_found"
    assert server.http.get("/heads/bounded/samples", params={"after": "x"}).status_code == 422
    assert server.http.delete("/heads/bounded/samples/labels").status_code == 405
    answer = server.http.post("/heads/nobody/samples/labels", json={"labels": {"0" * 64: "x"}})
    assert answer.json()["code"] == "head_not_found"
