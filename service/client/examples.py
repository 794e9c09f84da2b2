"""What a head was taught: its examples and classes, and hard inputs that are kept for labeling."""

from collections.abc import Iterator, Sequence
from typing import Any

from service.client.errors import Json
from service.client.transport import Transport


class Examples(Transport):
    """/heads/{head}/examples, /labels, /samples and /rebuild."""

    def examples(
        self, head: str, *, label: str | None = None, split: str | None = None, suspected: bool = False
    ) -> Iterator[Json]:
        """Every example of a head, or of a label, of a split (train, val, test, none), or suspected; page by page."""
        asked = {"label": label, "split": split, "suspected": "true" if suspected else None}
        query = {k: v for k, v in asked.items() if v is not None}
        return self._pages(f"/heads/{head}/examples", "examples", **query)

    def content(self, head: str, sha256: str) -> bytes:
        """An example as it was sent."""
        return self._request("GET", f"/heads/{head}/examples/{sha256}/content").content

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

    def sampling(self, name: str) -> Json:
        """Whether hard inputs of a head are kept for labeling, and what there is."""
        return self._json("GET", f"/heads/{name}/sampling")

    def set_sampling(self, name: str, enabled: bool, **options: Any) -> Json:
        """Keep hard inputs of a head, or nothing; off deletes what was kept. Options: keep, days."""
        return self._json("PUT", f"/heads/{name}/sampling", json={"enabled": enabled} | options)

    def samples(self, name: str) -> Iterator[Json]:
        """Hard inputs that are kept of a head, the hardest first, page by page."""
        return self._pages(f"/heads/{name}/samples", "samples")

    def sample(self, name: str, sha256: str) -> bytes:
        """A sample as it was asked."""
        return self._request("GET", f"/heads/{name}/samples/{sha256}/content").content

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
