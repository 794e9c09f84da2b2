"""A page of another site, or one whose name leads here, gets nothing done: every route by its method."""

import httpx
import pytest

EVIL = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}
NATIVE = [("POST", "/bento/predict"), ("GET", "/livez"), ("GET", "/readyz"), ("GET", "/metrics"), ("GET", "/docs")]


@pytest.fixture(scope="module")
def routes(server) -> list[tuple[str, str]]:
    """(method, path) of everything that is documented, and of what BentoML adds."""
    paths = server.http.get("/openapi.json").json()["paths"]
    found = [(method.upper(), path) for path, methods in paths.items() for method in methods]
    return [*found, *NATIVE, ("POST", "/nowhere")]


def test_no_route_changes_anything_for_a_page_of_another_site(server, routes):
    server.settle()
    before = server.footprint()
    for method, path in routes:
        answer = server.http.request(method, path.replace("{", "").replace("}", ""), headers=EVIL)
        assert "access-control-allow-origin" not in answer.headers
        if method not in ("GET", "HEAD"):
            assert (answer.status_code, answer.json()["code"]) == (403, "cross_site"), (method, path)
    assert server.footprint() == before


def test_no_route_answers_to_a_name_that_is_not_ours(server, routes):
    for method, path in routes:
        answer = server.http.request(method, path, headers={"Host": "evil.example:3000"})
        assert (answer.status_code, answer.json()["code"]) == (403, "host_not_allowed"), (method, path)


def test_a_page_of_our_own_may(server):
    """As /docs does when somebody tries a route there."""
    ours = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    answer = server.http.post("/jobs/job_unknown/cancel", headers=ours)
    assert answer.status_code == 404


def test_pages_cannot_be_framed(server):
    assert "frame-ancestors 'none'" in server.http.get("/docs").headers["content-security-policy"]


def test_a_name_is_allowed_by_a_setting(own_server):
    service = own_server(allowed_hosts="espalier.example")
    asked = [httpx.get(f"{service.url}/heads", headers={"Host": name}) for name in ("espalier.example", "evil.example")]
    assert [answer.status_code for answer in asked] == [200, 403]
