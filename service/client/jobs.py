"""Teaching heads, and the jobs that do it."""

import json
import time
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import httpx

from service.client.errors import Json, refuse
from service.client.inputs import LabeledInput, fields, row, text_row
from service.client.transport import Transport

ENDED = frozenset({"succeeded", "rejected", "failed", "cancelled"})  # statuses that a job keeps


class Jobs(Transport):
    """/finetune and /jobs."""

    def finetune(
        self,
        head: str,
        images: Sequence[LabeledInput] = (),
        *,
        inputs: Sequence[LabeledInput] = (),
        field: str = "inputs",
        texts: Sequence[tuple[str, Any]] = (),
        wait: float | Literal["all"] = 0,
        idempotency_key: str | None = None,
        **options: Any,
    ) -> Json:
        """Send labeled inputs and return the job: `images`, or `texts` as (text, label), or `inputs` of any kind.

        `field`: what `inputs` are sent as, where their kind is known. Options are the fields of /finetune (method, …).
        """
        field, sent = (field, inputs) if inputs else ("images", images)
        rows = [row(str(part), one) for part, one in enumerate(sent)] + [text_row(*pair) for pair in texts]
        files = [("manifest", ("manifest.jsonl", "\n".join(rows).encode(), "application/jsonl"))]
        files += [(field, (str(p), bytes(i.data()), "application/octet-stream")) for p, i in enumerate(sent)]
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        form = {"head": head} | fields(options)
        return self._json("POST", "/finetune", data=form, files=files, params={"wait": wait}, headers=headers)

    def wait(self, job_id: str, timeout: float = 3600.0) -> Json:
        """The job once it has ended. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while (job := self.job(job_id))["status"] not in ENDED:
            if time.monotonic() > deadline:
                raise TimeoutError(f"the job {job_id} is still {job['status']} after {timeout:.0f} s")
            time.sleep(0.1)
        return job

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
                refuse(response)
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
