"""The wire contract of heads, their versions, reports and aliases."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.store.heads import HeadSummary
from adapters.tenancy import shown
from adapters.types import HeadVersion
from service.replicas.views import ReplicasView
from service.wire import NUMBER, Wire


class VersionView(Wire):
    """One version of a head."""

    version: int
    digest: str
    status: Literal["published", "rejected"]
    method: str
    labels: list[str]
    metrics: dict[str, Any]
    backbone: str
    depth: Literal["shallow", "deep"] = Field(description="Whether it has a trained part of the backbone of its own.")
    cut: str | None = Field(description="Of a deep version, the block behind which that part begins.")
    created_at: datetime
    aliases: list[str]

    @staticmethod
    def plain(version: HeadVersion, aliases: dict[str, int]) -> dict[str, Any]:
        """The same as a dictionary, not validated."""
        manifest = version.manifest
        named = sorted(alias for alias, number in aliases.items() if number == version.number)
        cut = manifest["deep"]["cut"]["name"] if "deep" in manifest else None
        return {
            "version": version.number, "digest": version.digest, "status": version.status, "method": manifest["method"],
            "labels": manifest["classes"], "metrics": manifest["metrics"], "backbone": manifest["backbone"]["name"],
            "depth": "shallow" if cut is None else "deep", "cut": cut, "created_at": version.created_at,
            "aliases": named,
        }  # fmt: skip


class HeadView(Wire):
    """A head with its aliases and versions, newest first. `labels` and `metrics` are those of the live version."""

    name: str
    task: str
    live: int | None
    labels: list[str]
    metrics: dict[str, Any]
    aliases: dict[str, int]
    versions: list[VersionView]
    created_at: datetime

    @classmethod
    def of(cls, head: HeadSummary) -> "HeadView":
        return cls.model_validate(cls.plain(head))

    @staticmethod
    def plain(head: HeadSummary) -> dict[str, Any]:
        """The same as a dictionary: where a thousand are listed, our own words are not validated."""
        live = head.aliases.get("live")
        manifest: dict[str, Any] = next((v.manifest for v in head.versions if v.number == live), {})
        return {
            "name": shown(head.name), "task": head.task, "live": live, "labels": manifest.get("classes", []),
            "metrics": manifest.get("metrics", {}), "aliases": head.aliases,
            "versions": [VersionView.plain(v, head.aliases) for v in head.versions], "created_at": head.created_at,
        }  # fmt: skip


class ReportView(Wire):
    """What is known of how far a version can be trusted. What has no meaning for its task is not there."""

    head: str
    version: int
    status: Literal["published", "rejected"]
    created_at: datetime
    task: str
    method: str
    backbone: str
    backbone_digest: str
    digest: str = Field(description="SHA-256 of the graph.")
    data_digest: str
    labels: list[str]
    splits: dict[str, int] = Field(description="How many examples were trained on, chosen with and measured with.")
    metrics: dict[str, Any]
    explanation: str = Field(description="How the figures were come by.")
    per_class: dict[str, Any] | None = None
    confusion: dict[str, Any] | None = Field(None, description="{labels, matrix}; up to 200 classes.")
    reliability: list[dict[str, Any]] | None = Field(None, description="Bins of held-out answers by confidence.")
    worst: list[dict[str, Any]] | None = Field(None, description="Held-out mistakes, the surest first; at most 100.")
    findings: dict[str, Any] = Field(
        description="duplicates, imbalance, suspected_labels, outliers, look_alikes, similar_names, "
        "missing_names, received; lists are capped, counts are not."
    )
    curve: dict[str, Any] | None = Field(
        None,
        description="{measure, points, gain, more_inputs, answer} or {skipped}; absent until it is measured. `of`: "
        "shallow where a deep version shows that of the head on the frozen backbone.",
    )
    race: list[dict[str, Any]]
    winner: dict[str, Any]
    deep: dict[str, Any] | None = Field(
        None,
        description="What training the last part of the backbone brought: cut, evidence (gain, interval), losses by "
        "epoch and what they mean, table of what was tried, precision that it is served in and why; null where it was "
        "not tried.",
    )
    gate: dict[str, Any]
    parity: dict[str, Any]

    @classmethod
    def of(cls, version: HeadVersion, report: dict[str, Any]) -> "ReportView":
        manifest, figures = version.manifest, report["figures"]
        return cls(
            head=shown(version.head), version=version.number, status=version.status, created_at=version.created_at,
            task=manifest["task"], method=manifest["method"], backbone=manifest["backbone"]["name"],
            backbone_digest=manifest["backbone"]["digest"], digest=version.digest,
            data_digest=manifest["data"]["digest"], labels=manifest["classes"], splits=manifest["data"]["splits"],
            metrics=manifest["metrics"], explanation=figures["explanation"], per_class=figures.get("per_class"),
            confusion=figures.get("confusion"), reliability=report.get("reliability"), worst=report.get("worst"),
            findings=report["findings"], curve=report["curve"], race=report["race"], winner=report["winner"],
            gate=manifest["gate"], parity=manifest["parity"], deep=_deep(report, manifest),
        )  # fmt: skip


def _deep(report: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any] | None:
    """What training found, and what the proof after it chose."""
    found: dict[str, Any] | None = report.get("deep")
    precision = manifest.get("deep", {}).get("precision")
    return found if found is None or precision is None else found | {"precision": precision}


class HeadPage(Wire):
    """Heads by name."""

    heads: list[HeadView]
    next: str | None = Field(description="Pass as `after` for the next page; null at the end.")


class AliasRequest(Wire):
    """Where an alias shall point."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1), NUMBER]
    expected: Annotated[int, Field(ge=0, le=2**31 - 1), NUMBER] | None = Field(
        None, description="Move it only if it points at this version now (0: nowhere); else 409."
    )


class AliasView(Wire):
    """Where an alias points now."""

    head: str
    alias: str
    version: int
    generation: int = Field(description="Send it as `min_generation` to be answered by no older state.")
    replicas: ReplicasView | None = Field(None, description="With `wait=all`: how many serve it.")
