"""Too much, too late, twice, or for nobody: what a real server does with work it should not do."""

import io
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support.pictures import shape, shapes
from support.services import Service, eventually

HEADS = ("busy", "quiet")


def teach(service: Service) -> None:
    for head in HEADS:
        job = service.client.finetune(head, shapes(), method="prototype")
        assert service.client.wait(job["id"])["status"] == "succeeded"


def metric(service: Service, name: str) -> float:
    found = re.search(rf"^espalier_{name} (\S+)$", service.http.get("/metrics").text, re.MULTILINE)
    assert found, name
    return float(found[1])


def forms(head: str, images: list[bytes], **options: object) -> dict:
    files = [("images", (f"{n}.png", io.BytesIO(data), "image/png")) for n, data in enumerate(images)]
    return {"data": {"head": head} | options, "files": files}


def pictures(count: int, start: int = 1000) -> list[bytes]:
    """Different ones, large enough to keep a lane busy."""
    return [shape("circle", start + n, "BMP", side=512) for n in range(count)]


class Flood:
    """A request of many images to the head `busy`, on its way while in here."""

    def __init__(self, service: Service, count: int, **options: object) -> None:
        self.service, self.form, self.count = service, forms("busy", pictures(count), **options), count

    def __enter__(self) -> "Flood":
        self.pool = ThreadPoolExecutor(1)
        self.answer = self.pool.submit(httpx.post, f"{self.service.url}/predict", timeout=120, **self.form)
        eventually(lambda: metric(self.service, "inputs_waiting") >= self.count)
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.shutdown(wait=True)


@pytest.mark.slow
def test_one_flood_overload_deadlines_leaving_and_twins(own_server):
    """One lane, room for 100 images, and more than that asked of it."""
    service = own_server(threads=1, max_waiting=100, pinned_heads="busy, quiet@live")
    teach(service)
    eventually(lambda: metric(service, "heads_loaded") >= 2)
    service.client.predict(HEADS, [shape("circle", 5)])

    # A flood fills the queue: its own head is refused, before the body, with when to come back; another is answered.
    with Flood(service, 100) as flood:
        more = service.http.post("/predict", **forms("busy", [shape("bar", 1)]))
        assert (more.status_code, more.json()["code"]) == (429, "overloaded"), more.text
        assert int(more.headers["retry-after"]) >= 1
        raw = service.http.post("/predict?head=busy", content=shape("bar", 1), headers={"content-type": "image/png"})
        assert raw.status_code == 429
        quiet = service.http.post("/predict", **forms("quiet", [shape("square", 2)]))
        assert quiet.status_code == 200 and not flood.answer.done(), "it did not wait for the flood"
        assert metric(service, "inputs_waiting") > 0 and metric(service, "waiting_bytes") > 10**6
    assert flood.answer.result().status_code == 200
    assert len(flood.answer.result().json()["predictions"]) == 100
    assert metric(service, "requests_rejected_total") == 2
    eventually(lambda: metric(service, "inputs_waiting") == 0 == metric(service, "waiting_bytes"))

    # What cannot be there in time ends as 504, and its images are dropped.
    dropped = metric(service, "inputs_dropped_total")
    late = service.http.post("/predict", **forms("busy", pictures(60, 2000), timeout="0.05"))
    assert (late.status_code, late.json()["code"]) == (504, "deadline_exceeded"), late.text
    assert late.headers["content-type"] == "application/problem+json" and "0.05 seconds" in late.json()["detail"]
    eventually(lambda: metric(service, "inputs_dropped_total") > dropped)
    assert metric(service, "requests_expired_total") == 1

    # A client that leaves takes its work along.
    dropped = metric(service, "inputs_dropped_total")
    leave(service, forms("busy", pictures(80, 3000)))
    eventually(lambda: metric(service, "inputs_dropped_total") > dropped)
    eventually(lambda: metric(service, "inputs_waiting") == 0 == metric(service, "waiting_bytes"))

    # One image asked for by many at once is embedded once.
    passes, shared = metric(service, "backbone_seconds_count"), metric(service, "inputs_shared_total")
    twin = shape("square", 7, "BMP", side=1024)
    answer = service.http.post("/predict", **forms("quiet", [twin] * 20)).json()
    assert {(p["label"], p["score"]) for p in answer["predictions"]} == {
        (answer["predictions"][0]["label"], answer["predictions"][0]["score"])
    }
    assert metric(service, "inputs_shared_total") - shared == 19
    assert metric(service, "backbone_seconds_count") - passes == 1
    for name in ("queue_seconds", "decode_seconds", "backbone_seconds", "batch_inputs", "head_seconds"):
        assert metric(service, f"{name}_count") > 0
    assert metric(service, "head_loads_total") == 2 and metric(service, "head_evictions_total") == 0
    assert "Traceback" not in service.log.read_text()


def leave(service: Service, form: dict) -> None:
    """Send a whole request, wait until the server is at work on it, and hang up."""
    request = httpx.Request("POST", f"{service.url}/predict", **form)
    request.read()
    lines = ["POST /predict HTTP/1.1", *(f"{name}: {value}" for name, value in request.headers.items()), "", ""]
    with socket.create_connection(("127.0.0.1", service.port)) as connection:
        connection.sendall("\r\n".join(lines).encode() + request.content)
        eventually(lambda: metric(service, "inputs_waiting") >= 1)


@pytest.mark.slow
def test_bodies_over_the_bound_are_refused_as_they_come(own_server):
    """With and without a Content-Length; the first of any size is taken."""
    service = own_server(threads=1, max_waiting_bytes=200_000)
    teach(service)
    small = forms("busy", [shape("bar", 1)])
    with Flood(service, 40) as flood:
        assert service.http.post("/predict", **small).status_code == 429
        body = iter([shape("bar", 1)])
        chunked = service.http.post("/predict?head=quiet", content=body, headers={"content-type": "image/png"})
        assert chunked.status_code == 429
    assert flood.answer.result().status_code == 200
    eventually(lambda: metric(service, "waiting_bytes") == 0)
    assert service.http.post("/predict", **forms("busy", [shape("bar", 1)])).status_code == 200


@pytest.mark.slow
def test_images_that_would_wait_too_long_behind_their_own_head_are_refused(own_server):
    service = own_server(threads=1, max_waiting_seconds=0.01)
    teach(service)
    service.client.predict(["busy"], pictures(3))  # how long one takes is known now
    with Flood(service, 60):
        more = service.http.post("/predict", **forms("busy", [shape("bar", 1)]))
        assert (more.status_code, more.json()["code"]) == (429, "overloaded"), more.text
        assert "seconds behind others" in more.json()["detail"] and int(more.headers["retry-after"]) >= 1
    assert service.http.post("/predict", **forms("busy", [shape("bar", 1)])).status_code == 200


@pytest.mark.slow
def test_remembered_embeddings_skip_the_backbone_and_answer_the_same(own_server):
    service = own_server(embedding_cache_bytes=10**6)
    teach(service)
    image = shape("triangle", 77)
    first = service.client.predict(["busy"], [image])
    passes = metric(service, "backbone_seconds_count")
    again, other = service.client.predict(["busy"], [image]), service.client.predict(["quiet"], [image])
    assert again["predictions"] == first["predictions"]
    assert other["predictions"][0]["label"] == first["predictions"][0]["label"]
    assert metric(service, "backbone_seconds_count") == passes
    assert metric(service, "embedding_cache_hits_total") == 2 and metric(service, "embedding_cache_misses_total") == 1
    assert metric(service, "embedding_cache_bytes") > 4000


@pytest.mark.slow
def test_serving_and_teaching_share_their_embeddings(own_server):
    """What was predicted is taught without the backbone, and what was taught is predicted without it."""
    service = own_server(embedding_cache_bytes=10**6)
    teach(service)
    images = shapes(start=500)
    passes = metric(service, "backbone_seconds_count")
    service.client.predict(["busy"], [image.data() for image in shapes()])
    assert metric(service, "backbone_seconds_count") == passes, "they were taught"
    service.client.predict(["busy"], [image.data() for image in images])
    job = service.client.wait(service.client.finetune("later", images, method="prototype")["id"])
    assert job["status"] == "succeeded", job
    counts = job["report"]["embedding"]
    assert (counts["new"], counts["cached"]) == (0, len(images))


@pytest.mark.parametrize("value", ["0", "-1", "1e", "soon", "", "٣"])
def test_a_timeout_that_means_nothing_is_named(server, value):
    answer = server.http.post("/predict", **forms("busy", [shape("bar", 1)], timeout=value))
    assert (answer.status_code, answer.json()["item"]) == (422, "timeout")


@pytest.mark.slow
def test_a_service_that_stops_leaves_no_thread_behind(own_server):
    """It ends by itself when asked to, in the middle of work."""
    service = own_server(threads=1)
    teach(service)
    asking = threading.Thread(target=_ask_and_ignore, args=(service.url,))
    asking.start()
    eventually(lambda: metric(service, "inputs_waiting") >= 1)
    assert service.process is not None
    service.process.terminate()
    assert service.process.wait(60) in (0, -15, 143)
    asking.join(60)


def _ask_and_ignore(url: str) -> None:
    try:
        httpx.post(f"{url}/predict", timeout=60, **forms("busy", pictures(60)))
    except httpx.HTTPError:
        pass
