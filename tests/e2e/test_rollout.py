"""Roll-outs over HTTP: a share of requests that stick to it, rules that decide, and counts that outlive a process."""

import math
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from support.inputs import of_pictures
from support.pictures import shape, shapes
from support.services import ROOT, Service, environment, espalier, eventually

from service.client import ApiError, LabeledImage

KINDS = ("circle", "square")
MOST = 600  # requests after which a rule must have decided


def taught(service: Service, head: str, *, swapped: bool = False, **options: object) -> int:
    """A version on circles and squares, or one that takes each for the other."""
    names = dict(zip(KINDS, reversed(KINDS), strict=True)) if swapped else {}
    images = [LabeledImage(i.file_name, i.data, names.get(i.label, i.label)) for i in shapes(KINDS)]
    job = service.client.finetune(head, images, wait=60, **({"method": "prototype", "mode": "replace"} | options))
    return int(service.client.wait(job["id"])["version"])


def asked(service: Service, head: str, key: object, kind: str = "circle", **options: object) -> tuple[int, str]:
    """(version, label) of one answer."""
    said = service.client.predict([head], [shape(kind, 80)], sticky=key, **options)["predictions"][0]
    return said["version"], said["label"]


def ask_until(service: Service, head: str, status: str) -> dict:
    """Send requests until the roll-out has ended so."""
    for key in range(MOST):
        asked(service, head, key, KINDS[key % 2])
        if key % 20 == 19 and service.client.rollout(head)["status"] == status:
            return service.client.rollout(head)
    return eventually(lambda: found if (found := service.client.rollout(head))["status"] == status else None)


def metric(service: Service, line: str) -> float:
    page = service.http.get("/metrics").text
    return next(float(row.rpartition(" ")[2]) for row in page.splitlines() if row.startswith(line))


@pytest.mark.slow
def test_a_canary_answers_its_share_and_sticks_to_its_keys(server):
    """Within five standard deviations; counts come to the database by themselves."""
    head = "canaried"
    assert (taught(server, head), taught(server, head, swapped=True, deploy="manual")) == (1, 2)
    begun = server.client.start_rollout(head, 2, weight=0.5, roll_back_when=None)
    assert (begun["status"], begun["base"], begun["mode"]) == ("running", 1, "canary")
    asked(server, head, "first", min_generation=begun["generation"])
    found = {key: asked(server, head, key) for key in range(150)}
    versions = Counter(version for version, _ in found.values())
    assert abs(versions[2] - 75) < 5 * math.sqrt(0.25 * 150)
    assert set(found.values()) == {(1, "circle"), (2, "square")}, "each answer is wholly the version's that it names"
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for key in range(20):
            body = {"data": {"head": head}, "files": {"images": shape("circle", 80)}}
            said = http.post("/predict", headers={"X-Request-Key": str(key)}, **body).json()
            assert said["predictions"][0]["version"] == found[key][0], "the header is the same as the field"
    seen = eventually(lambda: r if _all(r := server.client.rollout(head)["counts"]) == 171 else None)
    assert seen["compared"] + seen["dropped"] == seen["candidate"]["asked"] and seen["disagreed"] == seen["compared"]
    server.client.stop_rollout(head)
    after = server.client.rollout(head)
    assert (after["status"], after["events"][-1]["type"]) == ("stopped", "stopped")
    eventually(lambda: {asked(server, head, key)[0] for key in range(10)} == {1})


def _all(counts: dict) -> int:
    return counts["live"]["asked"] + counts["candidate"]["asked"]


@of_pictures
def test_a_bad_version_is_rolled_back_by_itself(server, inputs):
    head, line = f"rolled-back-{len(inputs.options)}", 'espalier_rollouts_ended_total{status="rolled_back"}'
    taught(server, head)
    bad = taught(server, head, swapped=True, **dict(inputs.options), deploy="manual")
    before = metric(server, line)
    server.client.start_rollout(head, bad, weight=0.3, roll_back_when={"answers": 10, "disagreement": 0.2})
    ended = ask_until(server, head, "rolled_back")
    evidence = ended["events"][-1]["data"]
    assert evidence["evidence"]["disagreement"]["low"] > 0.2 and evidence["counts"]["disagreed"] > 0
    assert "answer differently" in ended["reason"] and server.client.head(head)["live"] == 1
    eventually(lambda: {asked(server, head, key)[0] for key in range(10)} == {1})
    eventually(lambda: metric(server, line) == before + 1)


@pytest.mark.slow
def test_a_good_version_is_promoted_by_itself(server):
    head = "promoted"
    taught(server, head)
    good = taught(server, head, deploy="manual", method="ridge")
    server.client.start_rollout(
        head, good, weight=0.5, promote_when={"answers": 20, "errors": 0.5, "disagreement": 0.3}
    )
    ended = ask_until(server, head, "promoted")
    assert ended["evidence"]["disagreement"]["high"] <= 0.3 and server.client.head(head)["live"] == good
    eventually(lambda: {asked(server, head, key)[0] for key in range(10)} == {good})


def test_a_shadow_is_compared_and_answers_nobody(server):
    head = "shadowed"
    taught(server, head)
    other = taught(server, head, swapped=True, deploy="manual")
    begun = server.client.start_rollout(head, other, mode="shadow", roll_back_when=None)
    asked(server, head, "first", min_generation=begun["generation"])
    assert {asked(server, head, key) for key in range(40)} == {(1, "circle")}
    counts = eventually(lambda: c if (c := server.client.rollout(head)["counts"])["compared"] >= 41 else None)
    assert counts["disagreed"] == counts["compared"] == counts["candidate"]["asked"] == counts["live"]["asked"]
    server.client.stop_rollout(head)


@pytest.mark.slow
def test_counts_outlive_the_processes(own_server):
    """A second's counts are written on the way out, and keys stay with their version."""
    service: Service = own_server()
    head = "outliving"
    taught(service, head)
    taught(service, head, deploy="manual", method="ridge")
    begun = service.client.start_rollout(head, 2, weight=0.5)
    for key in range(30):
        asked(service, head, key, min_generation=begun["generation"])
    eventually(lambda: _all(service.client.rollout(head)["counts"]) == 30)
    owners = {key: asked(service, head, key)[0] for key in range(20)}
    service.stop()
    again = Service(service.home).start()
    try:
        assert _all(again.client.rollout(head)["counts"]) == 50
        assert {key: asked(again, head, key)[0] for key in range(20)} == owners
    finally:
        again.stop()


@pytest.mark.slow
def test_the_command_line_starts_shows_and_stops(server):
    head = "rolled-by-hand"
    taught(server, head)
    taught(server, head, deploy="manual", method="ridge")

    def run(*arguments: str, check: bool = True) -> str:
        done = espalier("heads", "rollout", *arguments, "--server", server.url, home=server.home, check=check)
        return done.stdout + done.stderr

    said = run("start", head, "2", "--weight", "0.25", "--promote-when", "answers=1000,errors=0.01")
    assert "canary of 25%, version 2 beside 1" in said
    facts = server.client.rollout(head)
    assert facts["promote_when"] == {"answers": 1000, "errors": 0.01, "disagreement": None, "novelty": None}
    assert facts["roll_back_when"]["errors"] == 0.02
    run("start", head, "2", "--roll-back-when", "none")
    assert server.client.rollout(head)["roll_back_when"] is None
    assert "errors: –" in run("show", head) and "the live version answers" in run("stop", head)
    assert "no roll-out" in run("stop", head, check=False)
    assert "not of the form" in run("start", head, "2", "--promote-when", "soon", check=False)


@pytest.mark.slow
def test_the_commands_of_the_guides_run(server, tmp_path):
    """Each block marked `tour`, one after another, on a head with a second version."""
    taught(server, "weather")
    taught(server, "weather", deploy="manual", method="ridge")
    (tmp_path / "photo.jpg").write_bytes(shape("circle", 80, format="JPEG"))
    pages = "".join((ROOT / f"docs/guides/{name}.md").read_text() for name in ("rollout", "drift"))
    tour = "".join(re.findall(r"^```bash tour\n(.*?)^```$", pages, re.MULTILINE | re.DOTALL))
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = environment(server.home) | {"ESPALIER_SERVER": server.url, "PATH": path}
    command = ["bash", "-euo", "pipefail", "-c", tour.replace("http://127.0.0.1:3000", server.url)]
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("shadow") and server.client.rollout("weather")["status"] == "stopped"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"version": 1}, 409, "conflict"),
        ({"version": 9}, 404, "version_not_found"),
        ({"version": 1, "weight": 1.1}, 422, "invalid_input"),
        ({"version": 1, "weight": 0}, 422, "invalid_input"),
        ({"version": 1, "mode": "blue-green"}, 422, "invalid_input"),
        ({"version": 1, "promote_when": {"errors": 0.1}}, 422, "invalid_input"),
        ({"version": 1, "roll_back_when": {"answers": 5, "errors": 2}}, 422, "invalid_input"),
        ({"version": 1, "surprise": 1}, 422, "invalid_input"),
    ],
)
def test_what_cannot_be_rolled_out_is_refused(server, body, status, code):
    head = "refusing"
    if head not in {one["name"] for one in server.client.heads()}:
        taught(server, head)
    answer = server.http.put(f"/heads/{head}/rollout", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert server.http.get(f"/heads/{head}/rollout").json()["code"] == "rollout_not_found"
    with pytest.raises(ApiError, match="256 characters"):
        asked(server, head, "x" * 257)
