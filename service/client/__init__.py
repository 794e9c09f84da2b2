"""The Python client: everything the HTTP API can do, with plain dictionaries as answers.

client = Client("http://127.0.0.1:3000")  # key="esp_…" where one is needed
job = client.finetune("weather", [("rain.jpg", data, "rain"), …], wait=60)
client.predict(["weather"], [data])
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import httpx

from adapters.types import TERMINAL

DEFAULT_URL = "http://127.0.0.1:3000"
Json = dict[str, Any]


class ApiError(Exception):
    """The server refused; `problem` is its RFC 9457 body."""

    def __init__(self, status: int, problem: Json) -> None:
        super().__init__(problem.get("detail") or f"HTTP {status}")
        self.status, self.problem = status, problem
        self.code: str = problem.get("code", "")
        self.errors: list[Json] = problem.get("errors") or []  # every bad item, where items are at fault
        self.error_count: int = problem.get("error_count") or 0  # also those beyond the list


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """One image to learn from; `data` is read when it is sent."""

    file_name: str
    data: Callable[[], bytes | memoryview]
    label: Any  # in the task's shape: a class, a list of labels, a number or numbers by name
    split: str | None = None
    group: str | None = None


class Client:
    """A connection to one server. Raises ApiError when it refuses, httpx.TransportError when it does not answer."""

    def __init__(self, url: str = DEFAULT_URL, *, key: str | None = None, timeout: float = 600.0) -> None:
        """`key`: an API key or a token, for a server that asks for one; by default that of ESPALIER_KEY."""
        given = os.environ.get("ESPALIER_KEY") if key is None else key
        headers = {"Authorization": f"Bearer {given}"} if given else {}
        self._http = httpx.Client(base_url=url, timeout=httpx.Timeout(timeout, connect=10.0), headers=headers)

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._http.close()

    def finetune(
        self,
        head: str,
        images: Sequence[LabeledImage],
        *,
        wait: float | Literal["all"] = 0,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Json:
        """Send labeled images and return the job. Options are the fields of /finetune (method, mode, on_error, …)."""
        manifest = "\n".join(_row(str(part), image) for part, image in enumerate(images))
        files = [("manifest", ("manifest.jsonl", manifest.encode(), "application/jsonl"))]
        files += [("images", (str(p), bytes(i.data()), "application/octet-stream")) for p, i in enumerate(images)]
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        fields = {"head": head} | {k: _text(v) for k, v in options.items() if v is not None}
        return self._json("POST", "/finetune", data=fields, files=files, params={"wait": wait}, headers=headers)

    def wait(self, job_id: str, timeout: float = 3600.0) -> Json:
        """The job once it has ended. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while (job := self.job(job_id))["status"] not in TERMINAL:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the job {job_id} is still {job['status']} after {timeout:.0f} s")
            time.sleep(0.1)
        return job

    def predict(self, heads: Sequence[str], images: Iterable[bytes | Path], **options: Any) -> Json:
        """Ask heads about images: bytes or paths. Options: top_k, on_error, timeout, sticky, min_generation, …"""
        fields = {"head": list(heads)} | {k: _text(v) for k, v in options.items() if v is not None}
        return self._json("POST", "/predict", data=fields, files=[_file(image) for image in images])

    def suggest(self, head: str, images: Iterable[bytes | Path], **options: Any) -> Json:
        """Which of these unlabeled images to label next. Options: count, on_error."""
        fields = {k: _text(v) for k, v in options.items() if v is not None}
        return self._json("POST", f"/heads/{head}/suggest", data=fields, files=[_file(image) for image in images])

    def embed(self, images: Iterable[bytes | Path], **options: Any) -> Json:
        """Embeddings of images."""
        fields = {k: _text(v) for k, v in options.items() if v is not None}
        return self._json("POST", "/embed", data=fields, files=[_file(image) for image in images])

    def events(self, job_id: str) -> Iterator[tuple[str, Json]]:
        """(type, data) of every event of a job, as it happens, to its end; reconnects where it left off."""
        last = 0
        while True:
            try:
                for number, kind, data in self._events(job_id, last):
                    last = number
                    yield kind, data
                    if kind == "final":
                        return
            except httpx.TransportError:
                time.sleep(0.5)

    def _events(self, job_id: str, after: int) -> Iterator[tuple[int, str, Json]]:
        with self._http.stream("GET", f"/jobs/{job_id}/events", headers={"Last-Event-ID": str(after)}) as response:
            if response.is_error:
                response.read()
                _raise(response)
            event: dict[str, str] = {}
            for line in response.iter_lines():
                key, _, value = line.partition(": ")
                event |= {key: value} if key and value else {}
                if not line and "data" in event:
                    yield int(event["id"]), event["event"], json.loads(event["data"])
                    event = {}

    def job(self, job_id: str) -> Json:
        """One job."""
        return self._json("GET", f"/jobs/{job_id}")

    def jobs(self, **query: Any) -> list[Json]:
        """Jobs, newest first."""
        return self._json("GET", "/jobs", params={k: v for k, v in query.items() if v is not None})["jobs"]

    def cancel(self, job_id: str) -> Json:
        """Cancel a job."""
        return self._json("POST", f"/jobs/{job_id}/cancel")

    def head(self, name: str) -> Json:
        """One head."""
        return self._json("GET", f"/heads/{name}")

    def heads(self) -> list[Json]:
        """All heads."""
        found: list[Json] = []
        after = ""
        while True:
            page = self._json("GET", "/heads", params={"after": after, "limit": 1000})
            found += page["heads"]
            if page["next"] is None:
                return found
            after = page["next"]

    def manifest(self, name: str, version: int) -> Json:
        """The manifest of a version."""
        return self._json("GET", f"/heads/{name}/versions/{version}")

    def report(self, name: str, version: int | None = None) -> Json:
        """How far a version (default: the live one) can be trusted."""
        return self._json("GET", f"/heads/{name}/report", params=_version(version))

    def report_page(self, name: str, version: int | None = None) -> str:
        """The same as one page of HTML, for people."""
        return self._request("GET", f"/heads/{name}/report", params=_version(version) | {"format": "html"}).text

    def graph(self, name: str, version: int) -> bytes:
        """The head.onnx of a version."""
        return self._request("GET", f"/heads/{name}/versions/{version}/head.onnx").content

    def set_alias(
        self, name: str, alias: str, version: int, *, expected: int | None = None, everywhere: bool = False
    ) -> Json:
        """Point an alias at a version; `everywhere`: return once all replicas serve it, or after a minute."""
        body, params = {"version": version, "expected": expected}, {"wait": "all"} if everywhere else {}
        return self._json("PUT", f"/heads/{name}/aliases/{alias}", json=body, params=params)

    def replicas(self) -> Json:
        """The serving processes that live."""
        return self._json("GET", "/replicas")

    def drift(self, name: str, version: int | None = None, *, hours: int = 24) -> Json:
        """What a version (default: the live one) is asked against what it was taught."""
        return self._json("GET", f"/heads/{name}/drift", params=_version(version) | {"hours": hours})

    def sampling(self, name: str) -> Json:
        """Whether hard inputs of a head are kept for labeling, and what there is."""
        return self._json("GET", f"/heads/{name}/sampling")

    def set_sampling(self, name: str, enabled: bool, **options: Any) -> Json:
        """Keep hard inputs of a head, or nothing; off deletes what was kept. Options: keep, days."""
        return self._json("PUT", f"/heads/{name}/sampling", json={"enabled": enabled} | options)

    def samples(self, name: str) -> Iterator[Json]:
        """Hard inputs that are kept of a head, the hardest first, page by page."""
        after: str | None = ""
        while after is not None:
            page = self._json("GET", f"/heads/{name}/samples", params={"after": after, "limit": 1000})
            yield from page["samples"]
            after = page["next"]

    def sample_image(self, name: str, sha256: str) -> bytes:
        """The image of a sample, as it was asked."""
        return self._request("GET", f"/heads/{name}/samples/{sha256}/image").content

    def label_samples(
        self, name: str, labels: dict[str, Any], *, wait: float = 0, idempotency_key: str | None = None
    ) -> Json:
        """Teach a head samples under their labels (SHA-256 → label); returns the job."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        path, body = f"/heads/{name}/samples/labels", {"labels": labels}
        return self._json("POST", path, json=body, params={"wait": wait}, headers=headers)

    def delete_samples(self, name: str, sha256: str | None = None) -> None:
        """Forget a sample, or all of a head."""
        self._request("DELETE", f"/heads/{name}/samples" + (f"/{sha256}" if sha256 else ""))

    def start_rollout(self, name: str, version: int, **options: Any) -> Json:
        """Try a version on live requests. Options: mode, weight, promote_when, roll_back_when, confidence."""
        return self._json("PUT", f"/heads/{name}/rollout", json={"version": version} | options)

    def rollout(self, name: str) -> Json:
        """The last roll-out of a head: counts, evidence, events."""
        return self._json("GET", f"/heads/{name}/rollout")

    def stop_rollout(self, name: str) -> None:
        """End the roll-out of a head."""
        self._request("DELETE", f"/heads/{name}/rollout")

    def delete_head(self, name: str) -> None:
        """Delete a head."""
        self._request("DELETE", f"/heads/{name}")

    def delete_version(self, name: str, version: int) -> None:
        """Delete a version."""
        self._request("DELETE", f"/heads/{name}/versions/{version}")

    def examples(
        self, head: str, *, label: str | None = None, split: str | None = None, suspected: bool = False
    ) -> Iterator[Json]:
        """Every example of a head, or of a label, of a split (train, val, test, none), or suspected; page by page."""
        asked = {"label": label, "split": split, "suspected": "true" if suspected else None}
        query = {k: v for k, v in asked.items() if v is not None}
        after: str | None = ""
        while after is not None:
            page = self._json("GET", f"/heads/{head}/examples", params=query | {"after": after, "limit": 1000})
            yield from page["examples"]
            after = page["next"]

    def image(self, head: str, sha256: str) -> bytes:
        """The image of an example, as it was sent."""
        return self._request("GET", f"/heads/{head}/examples/{sha256}/image").content

    def relabel(self, head: str, labels: dict[str, Any], *, wait: float = 0) -> Json:
        """Correct labels (SHA-256 → label); returns the job that trains the head anew."""
        return self._change(f"/heads/{head}/examples/relabel", {"labels": labels}, wait)

    def forget(self, head: str, sha256s: Sequence[str], *, wait: float = 0) -> Json:
        """Unlearn examples; returns the job. Versions that were trained on them are deleted at its end."""
        return self._change(f"/heads/{head}/examples/delete", {"sha256": list(sha256s)}, wait)

    def rename_labels(self, head: str, names: dict[str, str], *, wait: float = 0) -> Json:
        """Give classes other names (old → new); returns the job. The weights stay."""
        return self._change(f"/heads/{head}/labels", {"rename": names}, wait)

    def merge_labels(self, head: str, into: str, labels: Sequence[str], *, wait: float = 0) -> Json:
        """Make classes one; returns the job."""
        return self._change(f"/heads/{head}/labels", {"merge": {into: list(labels)}}, wait)

    def drop_labels(self, head: str, labels: Sequence[str], *, wait: float = 0) -> Json:
        """Drop classes with their examples; returns the job."""
        return self._change(f"/heads/{head}/labels", {"drop": list(labels)}, wait)

    def rebuild(self, head: str, backbone: str, *, deploy: str = "auto", wait: float = 0) -> Json:
        """Train a head from its stored examples on another backbone; returns the job."""
        return self._change(f"/heads/{head}/rebuild", {"backbone": backbone, "deploy": deploy}, wait)

    def compare(self, head: str, a: int | str, b: int | str, *, limit: int = 100) -> Json:
        """Two versions (or aliases) on the same held-out examples."""
        return self._json("GET", f"/heads/{head}/compare", params={"a": a, "b": b, "limit": limit})

    def backbones(self) -> list[Json]:
        """All backbones."""
        return self._json("GET", "/backbones")["backbones"]

    def is_ready(self) -> bool:
        """Whether the server answers predictions."""
        try:
            return self._http.get("/readyz", timeout=5.0).status_code == 200
        except httpx.TransportError:
            return False

    def wait_ready(self, timeout: float = 120.0) -> None:
        """Wait until the server answers predictions. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while not self.is_ready():
            if time.monotonic() > deadline:
                raise TimeoutError(f"the server at {self._http.base_url} was not ready in {timeout:.0f} s")
            time.sleep(0.1)

    def _change(self, path: str, body: Json, wait: float) -> Json:
        return self._json("POST", path, json=body, params={"wait": wait})

    def _json(self, method: str, path: str, **arguments: Any) -> Any:
        return self._request(method, path, **arguments).json()

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        response = self._http.request(method, path, **arguments)
        if response.is_error:
            _raise(response)
        return response


def _raise(response: httpx.Response) -> None:
    try:
        problem = response.json()
    except ValueError:
        problem = {"detail": response.text[:500] or response.reason_phrase, "code": "not_espalier"}
    raise ApiError(response.status_code, problem)


def _row(part: str, image: LabeledImage) -> str:
    """A line of the manifest. Files are found by numbers: what survives in a form's file names depends on the way."""
    row = {"part": part, "file_name": image.file_name, "label": image.label, "split": image.split, "group": image.group}
    return json.dumps({key: value for key, value in row.items() if value is not None})


def _file(image: bytes | Path) -> tuple[str, tuple[str, bytes, str]]:
    # Answers count images; a name would only be one more thing that cannot be written in every form.
    return "images", ("image", image if isinstance(image, bytes) else image.read_bytes(), "application/octet-stream")


def _version(version: int | None) -> dict[str, Any]:
    return {} if version is None else {"version": version}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
