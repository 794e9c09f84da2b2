"""Heads: their versions, aliases, reports and roll-outs; what they stand on."""

from typing import Any

from service.client.errors import Json
from service.client.transport import Transport


class Heads(Transport):
    """/heads, /backbones and /replicas."""

    def head(self, name: str) -> Json:
        """One head."""
        return self._json("GET", f"/heads/{name}")

    def heads(self) -> list[Json]:
        """All heads."""
        return list(self._pages("/heads", "heads"))

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

    def trunk(self, name: str, version: int) -> bytes:
        """The trunk.onnx of a deep version: its graph reads what this tells."""
        return self._request("GET", f"/heads/{name}/versions/{version}/trunk.onnx").content

    def set_alias(
        self, name: str, alias: str, version: int, *, expected: int | None = None, everywhere: bool = False
    ) -> Json:
        """Point an alias at a version; `everywhere`: return once all replicas serve it, or after a minute."""
        body, params = {"version": version, "expected": expected}, {"wait": "all"} if everywhere else {}
        return self._json("PUT", f"/heads/{name}/aliases/{alias}", json=body, params=params)

    def drift(self, name: str, version: int | None = None, *, hours: int = 24) -> Json:
        """What a version (default: the live one) is asked against what it was taught."""
        return self._json("GET", f"/heads/{name}/drift", params=_version(version) | {"hours": hours})

    def compare(self, head: str, a: int | str, b: int | str, *, limit: int = 100) -> Json:
        """Two versions (or aliases) on the same held-out examples."""
        return self._json("GET", f"/heads/{head}/compare", params={"a": a, "b": b, "limit": limit})

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

    def backbones(self) -> list[Json]:
        """All backbones."""
        return self._json("GET", "/backbones")["backbones"]

    def replicas(self) -> Json:
        """The serving processes that live."""
        return self._json("GET", "/replicas")


def _version(version: int | None) -> dict[str, Any]:
    return {} if version is None else {"version": version}
