"""BentoML's own routes: within our limits, with our errors; and nothing that is sent makes the service fetch a URL."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from support.pictures import shape

PICTURE = {"image": ("a.png", shape("circle", 1), "image/png")}


@pytest.fixture(scope="module")
def outside() -> Iterator[tuple[str, list[str]]]:
    """The URL of a picture on a server that notes what it is asked."""
    asked: list[str] = []

    class Noting(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(shape("circle", 1))

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Noting) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/picture.png", asked
        server.shutdown()
        thread.join()


def bodies(url: str) -> dict[str, dict[str, object]]:
    """Every way in which BentoML takes a URL, or a mistake, in place of a file."""
    kinds = {"json": "application/json", "pickle": "application/vnd.bentoml+pickle", "text": "text/plain"}
    raw = {
        name: {"content": json.dumps({"image": url, "head": "x"}), "headers": {"Content-Type": kind}}
        for name, kind in kinds.items()
    }
    boundary = f'--xx\r\nContent-Disposition: form-data; name="image"\r\n\r\n{url}\r\n--xx--\r\n'
    return raw | {
        "url alone": {"content": url, "headers": {"Content-Type": "application/json"}},
        "text part": {"content": boundary, "headers": {"Content-Type": "multipart/form-data; boundary=xx"}},
        "in quotes": {"files": {"image": (None, json.dumps(url)), "head": (None, '"x"')}},
        "as the file": {"files": {"image": ("a.png", url.encode(), "image/png"), "head": (None, "x")}},
        "form": {"data": {"image": url, "head": "x"}},
        "nothing": {},
        "no head": {"files": PICTURE},
        "two images": {"files": [("image", PICTURE["image"])] * 2, "data": {"head": "x"}},
        "unknown head": {"files": PICTURE, "data": {"head": "nobody-knows"}},
        "bad name": {"files": PICTURE, "data": {"head": '"A b"'}},
        "bad number": {"files": PICTURE, "data": {"head": "x", "top_k": "[[["}},
    }


@pytest.mark.parametrize("name", bodies(""))
@pytest.mark.parametrize("path", ["/bento/predict", "/predict", "/embed", "/finetune"])
def test_a_mistake_is_told_and_no_url_is_fetched(server, outside, path, name):
    url, asked = outside
    before = server.log.read_text().count("Traceback")
    answer = server.http.post(path, **bodies(url)[name])
    if path == "/embed" and name == "no head":
        return  # which needs none
    if path == "/embed" and name == "text":  # is a text to embed, whatever it says
        assert answer.json()["backbone"] == "minilm" and not asked
        return
    assert 400 <= answer.status_code < 500, answer.text
    assert answer.headers["content-type"] == "application/problem+json" and answer.json()["detail"]
    assert not asked and server.log.read_text().count("Traceback") == before


@pytest.mark.parametrize("path", ["/livez", "/healthz", "/readyz", "/schema.json", "/docs.json", "/metrics"])
def test_what_bentoml_offers_is_there_with_our_errors(server, path):
    assert server.http.get(path).status_code == 200
    wrong = server.http.put(path, content=b"x")
    assert (wrong.status_code, wrong.json()["code"]) == (405, "method_not_allowed") and "GET" in wrong.headers["allow"]


@pytest.mark.parametrize("path", ["/static_content/index.css", "/bento", "/bento/predict/submit", "/assets/x"])
def test_nothing_else_of_bentoml_is_there(server, path):
    answer = server.http.get(path)
    assert (answer.status_code, answer.json()["code"]) == (404, "route_not_found")


def test_its_clients_learn_the_route_from_its_schema(server):
    (route,) = server.http.get("/schema.json").json()["routes"]
    assert route["route"] == "/bento/predict" and set(route["input"]["properties"]) == {"image", "head", "top_k"}
