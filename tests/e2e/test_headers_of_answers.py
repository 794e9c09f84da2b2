"""Every answer of the running service tells a browser what it may do with it: pages, JSON, files, errors, refusals."""

import base64
import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import raw
from support.pictures import shape, shapes
from support.services import Service

from service.access.rules import TABLE

ALWAYS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cross-origin-resource-policy": "same-site",
}
ASKED = [(method, path) for path, methods in TABLE for method in methods]
ABSENT = ("job_id", "key_id", "compare", "rollout", "samples/{sha256}", "trunk.onnx")  # of which there is none
SHA = hashlib.sha256(shape("circle", 0)).hexdigest()


def check(headers: Mapping[str, str]) -> str:
    """What holds for all; returns the policy."""
    assert {name: headers.get(name) for name in ALWAYS} == ALWAYS
    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy and "default-src 'none'" in policy
    assert "unsafe-eval" not in policy and "script-src 'unsafe-inline'" not in policy and "*" not in policy
    # Nothing tells of what we are made, or lets pages of other sites read.
    assert not {"server", "x-powered-by", "access-control-allow-origin"} & set(headers)
    return policy


def filled(path: str, **known: str) -> str:
    """The path with what is known in place of its parameters, and something that is not there for others."""
    return re.sub(r"\{(\w+)\}", lambda found: known.get(found[1], "0"), path)


@pytest.fixture(scope="module")
def head(server: Service) -> str:
    """A head with a report and examples."""
    job = server.client.finetune("headers", shapes(), wait=60, method="prototype")
    assert server.client.wait(job["id"])["status"] == "succeeded"
    return "headers"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "path"), ASKED)
def test_every_route_says_it_of_what_is_not_there(server, method, path):
    answer = server.http.request(method, filled(path), headers={"Accept": "text/html"})
    check(answer.headers)


@pytest.mark.parametrize("path", [path for path, methods in TABLE if "GET" in methods and "{" in path])
def test_every_route_says_it_of_what_is_there(server, head, path):
    known = {"head": head, "version": "1", "file": "swagger-ui.css", "sha256": SHA}
    answer = server.http.get(filled(path, **known), headers={"Accept": "text/html"})
    check(answer.headers)
    assert answer.status_code == 200 or any(word in path for word in ABSENT), answer.text


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/nowhere", {}),
        ("PUT", "/predict", {}),
        ("OPTIONS", "/heads", {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}),
        ("TRACE", "/", {}),
        ("GET", "/heads", {"Host": "evil.example"}),
        ("POST", "/predict", {"Origin": "http://evil.example"}),
        ("GET", "/heads/x%0d%0aSet-Cookie:a=b", {}),
    ],
)
def test_refusals_say_it(server, method, path, headers):
    answer = server.http.request(method, path, headers=headers)
    check(answer.headers)
    assert answer.status_code >= 400 and "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"nonsense\r\n\r\n", 400),
        (raw.get("/" + "a" * 40_000), 414),
        (raw.get("/heads", "X: " + "a" * 40_000), 431),
    ],
)
def test_what_is_refused_before_it_is_a_request_says_it(server, request_bytes, status):
    answer = raw.exchange(server.port, request_bytes)
    check(answer.headers)
    assert answer.status == status


@pytest.mark.parametrize("path", ["/docs", "/docs/oauth2-redirect"])
def test_scripts_of_the_documentation_are_allowed_by_their_hash_and_no_others(server, path):
    answer = server.http.get(path)
    policy = check(answer.headers)
    allowed = set(re.findall(r"'sha256-([^']+)'", policy))
    scripts = re.findall(r"<script>(.*?)</script>", answer.text, re.DOTALL)
    assert scripts and allowed == {base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts}
    assert not re.search(r"\son\w+=|https?://", re.sub(r"<script>.*?</script>", "", answer.text, flags=re.DOTALL))


@pytest.mark.browser
def test_a_browser_shows_the_documentation_under_that_policy(server, tmp_path: Path):
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no Chromium")
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    command = [chromium, *options, "--virtual-time-budget=20000", "--dump-dom", f"{server.url}/docs"]
    page = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert "operations-tag" in page.stdout or "opblock" in page.stdout, page.stderr[-2000:]
    assert "Content Security Policy" not in page.stderr
