"""Keys over HTTP, from the first to the last: made, used, limited, rotated, revoked, and never shown twice."""

import json
import subprocess
import sys

import httpx
import pytest
from support.oidc_server import AUDIENCE, OidcServer
from support.services import Service, environment, espalier, eventually, free_port

from service.client import ApiError, Client

ADMIN = "the-operators-own-key-of-40-characters-!"
IMAGE = b"not an image"  # refused once it is known who asks


@pytest.fixture
def keyed(own_server) -> Service:
    """A service that asks for keys, and the operator's client for it."""
    service = own_server(admin_key=ADMIN)
    service.client.close()
    service.client = Client(service.url, key=ADMIN, timeout=120)
    return service


def make(service, *scopes, tenant=None, **more):
    body = {"name": "test", "scopes": list(scopes), "tenant": tenant} | more
    answer = service.http.post("/keys", json=body)
    assert answer.status_code == 201, answer.text
    assert answer.headers["cache-control"] == "no-store"
    return answer.json()


def ask(service, key, method="GET", path="/heads", **more):
    headers = {"X-Request-Id": "the-same"} | ({"Authorization": f"Bearer {key}"} if key else {})  # answers name it
    return httpx.request(method, service.url + path, headers=headers, timeout=60, **more)


def test_the_life_of_a_key(keyed, home):
    """Each refusal is problem+json with a code, and says how to ask or which scope is lacking."""
    strangers = ask(keyed, None)
    assert (strangers.status_code, strangers.json()["code"]) == (401, "unauthorized")
    assert strangers.headers["content-type"] == "application/problem+json"
    assert strangers.headers["www-authenticate"].startswith("Bearer")
    page = httpx.get(f"{keyed.url}/docs", headers={"Accept": "text/html"})
    assert page.status_code == 401 and page.headers["www-authenticate"].startswith("Basic"), "browsers ask for it"
    assert httpx.get(f"{keyed.url}/docs", auth=("me", ADMIN)).status_code == 200
    assert ask(keyed, None, path="/livez").status_code == ask(keyed, None, path="/readyz").status_code == 200

    made = make(keyed, "read", "predict:door-*", tenant="acme", expires_in_days=1)
    key, secret = made["key"], made["key"].split("_", 2)[2]
    assert ask(keyed, key).json() == {"heads": [], "next": None}
    lacking = ask(keyed, key, "POST", "/finetune")
    assert (lacking.status_code, lacking.json()["code"], lacking.json()["item"]) == (403, "forbidden", "teach")
    files = {"images": ("a.png", IMAGE)}
    beyond = ask(keyed, key, "POST", "/predict", data={"head": "window"}, files=files)
    assert (beyond.status_code, beyond.json()["item"]) == (403, "predict:window")
    within = ask(keyed, key, "POST", "/predict", data={"head": "door-1"}, files=files)
    assert (within.status_code, within.json()["code"]) == (404, "head_not_found") and "acme" not in within.text
    assert ask(keyed, key, path="/metrics").status_code == ask(keyed, key, path="/keys").status_code == 403

    listed = keyed.http.get("/keys").json()["keys"]
    assert [row["id"] for row in listed] == [made["id"]] and secret not in json.dumps(listed)
    turned = keyed.http.post(f"/keys/{made['id']}/rotate", json={"overlap_seconds": 3600}).json()
    assert ask(keyed, key).status_code == ask(keyed, turned["key"]).status_code == 200
    assert turned["replaces"] == made["id"] and turned["scopes"] == made["scopes"]
    assert keyed.http.delete(f"/keys/{made['id']}").json()["status"] == "revoked"
    assert ask(keyed, key).status_code == 401 and ask(keyed, turned["key"]).status_code == 200

    first = keyed.http.get("/keys", params={"limit": 1}).json()
    rest = keyed.http.get("/keys", params={"limit": 1000, "after": first["next"]}).json()
    assert [row["id"] for row in first["keys"] + rest["keys"]] == [made["id"], turned["id"]] and rest["next"] is None

    espalier("keys", "revoke", turned["id"], home=home)  # beside the service, on its database
    eventually(lambda: ask(keyed, turned["key"]).status_code == 401)
    other = json.loads(espalier("keys", "create", "--scope", "admin", "--tenant", "zebra", "--json", home=home).stdout)
    assert ask(keyed, other["key"], path="/keys").json()["keys"][0]["id"] == other["id"], "found at once"
    for method, path in (("GET", turned["id"]), ("DELETE", turned["id"]), ("POST", f"{turned['id']}/rotate")):
        there = ask(keyed, other["key"], method, f"/keys/{path}", **({"json": {}} if method == "POST" else {}))
        gone = ask(keyed, other["key"], method, f"/keys/{path.replace(turned['id'], 'a' * 10)}",
                   **({"json": {}} if method == "POST" else {}))  # fmt: skip
        assert (there.status_code, there.json()["code"]) == (404, "key_not_found")
        assert there.text.replace(turned["id"], "a" * 10) == gone.text
    foreign = ask(keyed, other["key"], "POST", "/keys", json={"name": "x", "scopes": ["read"], "tenant": "acme"})
    assert foreign.status_code == 403
    written = keyed.log.read_text() + repr(keyed.rows("api_keys"))
    for shown in (secret, turned["key"].split("_", 2)[2], other["key"].split("_", 2)[2], ADMIN):
        assert shown not in written


@pytest.mark.slow
def test_the_client_and_the_command_line_take_a_key(keyed, home, monkeypatch):
    key = make(keyed, "read", tenant="acme")["key"]
    with Client(keyed.url, key=key) as client:
        assert client.heads() == []
    monkeypatch.setenv("ESPALIER_KEY", key)
    with Client(keyed.url) as client:
        assert client.heads() == []
    monkeypatch.delenv("ESPALIER_KEY")
    with Client(keyed.url) as client, pytest.raises(ApiError) as refusal:
        client.heads()
    assert refusal.value.code == "unauthorized"
    assert "[]" in espalier("heads", "--json", "--server", keyed.url, "--key", key, home=home).stdout
    assert "[]" in espalier("heads", "--json", "--server", keyed.url, home=home, key=key).stdout
    failed = espalier("heads", "--server", keyed.url, home=home, check=False)
    assert failed.returncode == 1 and "unauthorized" in failed.stderr and "Traceback" not in failed.stderr


@pytest.mark.slow
def test_the_first_key_ends_the_time_without_and_the_last_does_not_bring_it_back(own_server, home):
    service = own_server()
    assert service.http.get("/heads").status_code == 200
    made = make(service, "admin")
    assert service.http.get("/heads").status_code == 401
    assert ask(service, made["key"], "DELETE", f"/keys/{made['id']}").status_code == 200
    assert service.http.get("/heads").status_code == ask(service, made["key"]).status_code == 401


@pytest.mark.slow
def test_it_listens_for_strangers_only_with_keys_or_a_word(home):
    refused = espalier("serve", "--host", "0.0.0.0", "--port", str(free_port()), home=home, check=False)
    assert refused.returncode == 1 and "--insecure" in refused.stderr and "Traceback" not in refused.stderr
    command = [sys.executable, "-m", "bentoml", "serve", "service.app:Espalier", "--port", str(free_port())]
    bento = subprocess.run(command, env=environment(home), capture_output=True, text=True, timeout=120)
    assert bento.returncode != 0 and "ESPALIER_INSECURE" in bento.stderr + bento.stdout


RULES = """
[[rule]]
when = { groups = "vision" }
tenant = "{org}"
scopes = ["predict", "read"]
"""


@pytest.mark.slow
def test_a_token_of_the_issuer_is_as_good_as_a_key(own_server, home, tmp_path):
    """By discovery of a real issuer: its tenant and scopes, until it ends, is another's or gives nothing."""
    issuer, rules = OidcServer().start(), tmp_path / "rules.toml"
    rules.write_text(RULES)
    try:
        service = own_server(oidc_issuer=issuer.url, oidc_audience=AUDIENCE, oidc_rules=rules)
        assert ask(service, None).status_code == 401, "an issuer alone makes everybody need something"
        acme = {"groups": ["vision"], "org": "acme"}
        assert ask(service, issuer.token(**acme)).json() == {"heads": [], "next": None}
        lacking = ask(service, issuer.token(**acme), "POST", "/finetune")
        assert (lacking.status_code, lacking.json()["item"]) == (403, "teach")
        assert ask(service, issuer.token(org="acme")).status_code == 403, "no rule fits"
        for bad in (issuer.token(exp=1, **acme), issuer.token(aud="other", **acme), issuer.token(**acme)[:-4] + "AAAA"):
            refused = ask(service, bad)
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        token = issuer.token(**acme)
        with Client(service.url, key=token) as client:
            assert client.heads() == []
        espalier("keys", "create", "--scope", "read", home=home)  # both ways at once
        assert ask(service, token).status_code == 200
        assert token.rpartition(".")[2] not in service.log.read_text()
    finally:
        issuer.stop()


@pytest.mark.slow
def test_an_issuer_that_is_half_set_is_refused_at_the_start(home):
    refused = espalier("serve", "--port", str(free_port()), home=home, check=False, oidc_issuer="http://example.com")
    assert refused.returncode == 1 and "OIDC" in refused.stderr and "Traceback" not in refused.stderr
