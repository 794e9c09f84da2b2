"""Good images to send beside bad ones, and what a refusal must say."""

import time

import httpx
from PIL import Image

from support.pictures import encoded, shape
from support.services import Service

HEAD = "refused"
GOOD = {f"{k}-{n}.png": shape(k, n) for n in range(4) for k in ("circle", "square")}
LABELS = [name.split("-")[0] for name in GOOD]
FILES = list(GOOD.items())


ONE_PIXEL = encoded(Image.new("RGB", (1, 1)))


def settled(server: Service) -> dict[str, object] | None:
    """What it holds, once it holds still: a moment after a job has ended, its worker lets go of what it needed."""
    found = server.footprint()
    time.sleep(0.1)
    return found if not found["job_examples"] and found == server.footprint() else None


def post(server: Service, files: list, data: dict | None = None, path: str = "/finetune") -> httpx.Response:
    """Send a form, to `refused` unless it names a head."""
    return server.http.post(path, data={"head": HEAD} | (data or {}), files=files)


def refused(answer: httpx.Response, status: int, code: str, *said: str) -> dict:
    """Check the problem and return it: what is in `said` must be in its detail or item."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (status, code), problem
    assert problem["status"] == status and problem["title"] and problem["type"] == f"urn:espalier:error:{code}"
    for words in said:
        assert words in f"{problem['detail']} {problem.get('item', '')}", problem
    assert len(answer.content) < 8192, "a problem must not echo what was sent, and lists at most 50 items"
    return problem


def images(files: list[tuple[str, bytes]] = FILES) -> list:
    """Parts of a form."""
    return [("images", (name, data, "application/octet-stream")) for name, data in files]


def archive(data: bytes) -> list:
    """A part of a form."""
    return [("archive", ("data.zip", data, "application/zip"))]


def folders() -> list[tuple[str, bytes]]:
    """The good images as members of an archive, a folder a class."""
    return [(f"{label}/{name}", data) for label, (name, data) in zip(LABELS, FILES, strict=True)]
