"""Ways around the choke point that attackers try: other spellings of a path, other methods, headers that proxies and
frameworks believe, two requests in one, and keys by the thousand. On a running service, by hand where no client would
send such a request.
"""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.pictures import SHAPES, shapes
from support.raw import Answer, answer, connection
from support.services import Service, eventually

from service.access.keys import minting
from service.client import Client

pytestmark = pytest.mark.slow  # what it shows over HTTP, quick tests show of its parts

ADMIN = "the-operators-own-key-of-40-characters-!"
HEAD = "zqcats"
REFUSED = {0, 400, 401, 403, 404, 405, 422}  # 0: the connection is ended without an answer
MIB = 2**20


@pytest.fixture(scope="module")
def service(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("attacked") / "home"))
    service = Service(home, {"admin_key": ADMIN})
    try:
        yield service.start()
    finally:
        service.stop()


def key(service: Service, tenant: str, *scopes: str) -> str:
    body = {"name": "test", "tenant": tenant, "scopes": list(scopes)}
    made = httpx.post(f"{service.url}/keys", json=body, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=60)
    assert made.status_code == 201, made.text
    return str(made.json()["key"])


@pytest.fixture(scope="module")
def owner(service: Service) -> Iterator[Client]:
    """Of a head that nobody else may see or change."""
    with Client(service.url, key=key(service, "", "admin"), timeout=120) as owner:
        job = owner.finetune(HEAD, shapes(SHAPES[:2], 6), method="prototype", wait=60)
        assert job["status"] == "succeeded", job["error"]
        yield owner


@pytest.fixture(scope="module")
def little(service: Service) -> str:
    """A key that may ask another head for predictions, and nothing else."""
    return key(service, "", "predict:other")


def ask(service: Service, line: str, *headers: str, body: bytes = b"") -> Answer:
    """The first answer to a request whose first line and headers are sent as they are."""
    head = [line, "Host: 127.0.0.1", f"Content-Length: {len(body)}", *headers, "", ""]
    with connection(service.port) as opened:
        opened.sendall("\r\n".join(head).encode("latin-1") + body)
        return answer(opened)


TARGETS = [
    "/heads", "//heads", "/heads/", "/heads//", "/HEADS", "/./heads", "/x/../heads", "/%68eads", "/heads%2F",
    "/heads%00", "/heads;x=1", "/heads%3f", "/heads%23", "\\heads", "http://127.0.0.1/heads",
    "http://x@127.0.0.1/heads", "*",
    f"/heads/{HEAD}", f"//heads//{HEAD}", f"/heads/%2e%2e/heads/{HEAD}", f"/heads/..%2f{HEAD}", f"/heads/{HEAD}%00",
    f"/heads/{HEAD}/", f"/heads/{HEAD}/report", f"/livez/../heads/{HEAD}", f"/livez/..%2fheads%2f{HEAD}",
    "/metrics", "/metrics/", "//metrics", "/METRICS", "/metrics%20", "/%6detrics", "/livez%2f..%2fmetrics",
    "/livez;/../metrics", "/static-offline-docs/../metrics", "/static-offline-docs/..%2f..%2fmetrics",
    "/readyz/../keys",
    "/keys", "/keys/.", "/audit", "/quotas", "/replicas", "/jobs", "/livez/x", "/livez/", "/readyz%2f", "/healthz//",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
def test_no_spelling_of_a_path_gets_around_the_key(service, owner, little, target):
    for method in ("GET", "POST", "DELETE"):
        for given in ((), (f"Authorization: Bearer {little}",)):
            told = ask(service, f"{method} {target} HTTP/1.1", *given)
            assert told.status in REFUSED, (method, target, told)
            assert given or told.status in (0, 400, 401), (method, target, told)
            assert b'"aliases"' not in told.body and b"espalier_" not in told.body
    assert owner.head(HEAD)["aliases"] == {"live": 1}


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "TRACE", "PATCH", "PUT", "PROPFIND", "get", "GETS", "CONNECT"])
@pytest.mark.parametrize("path", ["/heads", f"/heads/{HEAD}", "/metrics", "/keys", "/predict", "/docs", "/livez"])
def test_no_other_method_gets_around_the_key(service, owner, method, path):
    told = ask(service, f"{method} {path} HTTP/1.1", "Connection: close")  # an answer to HEAD has no body to wait for
    assert told.status in (0, 400, 401), told
    assert "access-control-allow-origin" not in told.headers


@pytest.mark.parametrize(
    "header",
    ["X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "X-Original-URL: /livez",
     "X-Rewrite-URL: /livez", "X-Forwarded-Prefix: /livez", "X-Script-Name: /heads", "X-Forwarded-For: 127.0.0.1",
     "X-Real-IP: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Forwarded-User: admin", "Remote-User: admin",
     "X-Forwarded-Host: localhost", "X-Tenant: acme", "Upgrade: websocket\r\nConnection: Upgrade"],
)  # fmt: skip
def test_no_header_that_proxies_believe_is_believed(service, owner, little, header):
    for method in ("GET", "POST"):
        assert ask(service, f"{method} /heads/{HEAD} HTTP/1.1", header).status == 401
    reader = f"Authorization: Bearer {key(service, '', 'read')}"
    read = ask(service, f"GET /heads/{HEAD} HTTP/1.1", header, reader)
    assert read.status == 200 and owner.head(HEAD)["aliases"] == {"live": 1}
    assert ask(service, f"GET /heads/{HEAD}?_method=DELETE HTTP/1.1", header, reader).status == 422
    assert ask(service, "GET /heads HTTP/1.1", header, f"Authorization: Bearer {little}").status == 403


@pytest.mark.parametrize(
    "headers",
    [["Authorization: Bearer {key}", "Authorization: Bearer {key}"],
     ["Authorization: Bearer x", "Authorization: Bearer {key}"],
     ["Authorization: Bearer {key}", "Authorization: Basic Og=="],
     ["Authorization: Bearer {key}, Bearer {key}"], ["Authorization: {key}"], ["Authorization: Bearer"],
     ["Authorization : Bearer {key}"], ["Authorization:\r\n Bearer x{key}"], ["Proxy-Authorization: Bearer {key}"],
     ["Cookie: Authorization=Bearer {key}; key={key}"], ["X-API-Key: {key}"], ["Authorization_: Bearer {key}"],
     ["Authorization: Bearer {key}\x0b"], ["Authorization: Bearer {key}\xa0x"], ["Authorization: Digest {key}"]],
)  # fmt: skip
def test_a_key_counts_where_it_belongs_and_once(service, headers):
    good = key(service, "", "read")
    assert ask(service, "GET /heads HTTP/1.1", f"Authorization: Bearer {good}").status == 200
    told = ask(service, "GET /heads HTTP/1.1", *(header.format(key=good) for header in headers))
    assert told.status in (0, 400, 401), told
    for query in (f"key={good}", f"access_token={good}", f"Authorization=Bearer%20{good}"):
        assert ask(service, f"GET /heads?{query} HTTP/1.1").status == 401


def answers(service: Service, sent: bytes, count: int) -> list[bytes]:
    """The first lines of what comes back on one connection, until there are so many or it is ended."""
    with connection(service.port) as opened:
        opened.sendall(sent)
        received = b""
        while received.count(b"HTTP/1.1 ") < count and (piece := opened.recv(65_536)):
            received += piece
    return [part.partition(b"\r\n")[0] for part in received.split(b"HTTP/1.1 ")[1:]]


def test_the_key_of_one_request_is_not_that_of_the_next_on_its_connection(service, owner, little):
    good = f"GET /heads HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN}\r\n\r\n".encode()
    none, other = (b"GET /heads HTTP/1.1\r\nHost: 127.0.0.1\r\n" + more + b"\r\n" for more in (
        b"", f"Authorization: Bearer {little}\r\n".encode(),
    ))  # fmt: skip
    told = [line[:3] for line in answers(service, good + none + good + other + none, 5)]
    assert told == [b"200", b"401", b"200", b"403", b"401"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "headers",
    ["Content-Length: 4\r\nTransfer-Encoding: chunked", "Transfer-Encoding: chunked\r\nContent-Length: 4",
     "Content-Length: 4\r\nContent-Length: 60", "Transfer-Encoding: chunked, identity\r\nContent-Length: 4",
     "Transfer-Encoding:\x0bchunked\r\nContent-Length: 4", "Content-Length: +4", "Content-Length: 4, 60"],
)  # fmt: skip
def test_a_request_inside_the_body_of_another_is_nobodys(service, owner, headers):
    """Wherever a proxy and we may disagree on where a body ends, what is inside gets nothing by the outer one's key."""
    inner = f"DELETE /heads/{HEAD} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    outer = f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {ADMIN}\r\n{headers}\r\n\r\n"
    told = answers(service, f"{outer}0\r\n\r\n{inner}".encode("latin-1"), 2)
    assert all(line[:3] not in (b"200", b"202", b"204") for line in told), told
    assert owner.head(HEAD)["aliases"] == {"live": 1}


def test_what_is_of_all_tenants_is_for_operators(service, owner):
    acme = f"Authorization: Bearer {key(service, 'acme', 'admin')}"
    for path in ("/metrics", "/replicas"):
        told = ask(service, f"GET {path} HTTP/1.1", acme)
        assert (told.status, HEAD.encode() in told.body) == (403, False)
        assert (
            ask(service, f"GET {path} HTTP/1.1", f"Authorization: Bearer {key(service, '', 'metrics')}").status == 200
        )


def resident(service: Service) -> int:
    """Bytes of the serving process."""
    pids = service.pids("_bentoml_impl.worker.service")
    lines = Path(f"/proc/{pids[0]}/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) * 1024


@pytest.mark.parametrize("count", [2_000, pytest.param(10_000, marks=pytest.mark.slow)])
def test_wrong_keys_by_the_thousand_cost_no_memory_and_keep_nobody_out(service, owner, count):
    """Each is another, with an id that looks right; half of them would change something, and so would have a row. The
    first of a minute are told that they are wrong, and then that they are too many.
    """

    def request(number: int) -> bytes:
        line = "DELETE /heads/x" if number % 2 else "GET /heads"
        return f"{line} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {minting.mint()[1]}\r\n\r\n".encode()

    def flood(count: int) -> None:
        for _ in range(count // 50):
            told = answers(service, b"".join(map(request, range(50))), 50)
            assert len(told) == 50 and {line[:3] for line in told} <= {b"401", b"429"}

    flood(500)
    before, rows = resident(service), len(service.rows("audit"))
    flood(count)
    assert owner.head(HEAD)["aliases"] == {"live": 1}, "whoever has a key is answered all the while"
    assert resident(service) - before < 24 * MIB
    assert len(service.rows("audit")) - rows <= 5 * 31, (
        "so many a minute of one address, and a row that counts the rest"
    )
    with httpx.Client() as http:  # one that is quick, as an address may be wrong once more each second
        wrong = [http.get(f"{service.url}/heads", auth=("", minting.mint()[1])) for _ in range(20)][-1]
    assert (wrong.status_code, wrong.json()["code"]) == (429, "too_many_attempts")
    assert wrong.headers["content-type"] == "application/problem+json" and 1 <= int(wrong.headers["retry-after"]) <= 2
    counted = httpx.get(f"{service.url}/metrics", headers={"Authorization": f"Bearer {ADMIN}"}).text
    limited = re.search(r'authentication_failures_total{outcome="limited"} (\d+)', counted)
    assert limited is not None and int(limited[1]) > count / 2
    made = key(service, "", "read")
    assert eventually(lambda: ask(service, "GET /heads HTTP/1.1", f"Authorization: Bearer {made}").status == 200)
    assert httpx.get(f"{service.url}/heads").status_code == 401, "who sends no key has tried none"
    for probe in ("livez", "readyz", "healthz"):
        assert httpx.get(f"{service.url}/{probe}", auth=("", minting.mint()[1])).status_code == 200
