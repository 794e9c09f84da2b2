"""Heads that tests teach over HTTP, on the common service, and what they read of it."""

import csv
import io
import json
import uuid

import httpx

from service.client import LabeledImage
from support.pictures import labeled, shape, shapes
from support.services import Service, eventually

WAIT = 60.0  # seconds that the server holds a request for its job
KINDS = ("circle", "square", "triangle")


def unique(stem: str) -> str:
    """A name that no other test has."""
    return f"{stem}-{uuid.uuid4().hex[:8]}"


def taught(server: Service, stem: str, images: list[LabeledImage] | None = None, **options: object) -> tuple[str, dict]:
    """A new head and the finished job that made it."""
    head = unique(stem)
    return head, finetune(server, head, shapes() if images is None else images, **options)


def finetune(server: Service, head: str, sent: list[LabeledImage], **options: object) -> dict:
    """A finished job; of images and of the quickest method unless the test says otherwise."""
    options = {"method": "prototype", "field": "images"} | options
    job = server.client.finetune(head, inputs=sent, wait=WAIT, **options)
    job = server.client.wait(job["id"])
    assert job["status"] in ("succeeded", "rejected"), job["error"]
    return job


def serving(server: Service, head: str, version: int) -> None:
    """Wait until the server answers with a version; a replica sees a publish within a second."""
    image = shape("circle", 0)
    eventually(lambda: server.client.predict([head], [image])["predictions"][0]["version"] == version)


def held_out(each: int) -> list[LabeledImage]:
    """Images of the three shapes that are the caller's own test set."""
    return [labeled(f"t-{k}-{n}.png", shape(k, 300 + n), k, "test") for n in range(each) for k in KINDS]


def part(image: LabeledImage) -> tuple[str, tuple[str, bytes, str]]:
    """An image as a part of a form."""
    return "images", (image.file_name, image.data(), "image/png")


def posted(server: Service, head: str, images: list[LabeledImage] = (), **files: tuple[str, bytes]) -> dict:
    """A raw form, finished."""
    parts = [*files.items(), *(part(i) for i in images)]
    data = {"head": head, "method": "prototype"}
    response = server.http.post("/finetune", data=data, files=parts, params={"wait": WAIT})
    assert response.status_code in (200, 202), response.text
    return server.client.wait(response.json()["id"])


def asking(head: str) -> dict:
    """A form of /predict with one image."""
    return {"data": {"head": head}, "files": {"images": shape("circle", 0)}}


def as_csv(rows: list[dict[str, str]]) -> str:
    """A table as CSV, with its header."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


def events_of(server: Service, job_id: str, after: int = 0) -> list[dict]:
    """The events of a job as {id, event, data}, to its end."""
    with httpx.stream("GET", f"{server.url}/jobs/{job_id}/events", headers={"Last-Event-ID": str(after)}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        blocks = "".join(response.iter_text()).strip().split("\n\n")
    found = [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks if not block.startswith(":")]
    return [{"id": int(e["id"]), "event": e["event"], "data": json.loads(e["data"])} for e in found]


def metric(server: Service, name: str) -> float:
    """The value of a metric without labels."""
    lines = server.http.get("/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))
