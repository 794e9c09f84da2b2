"""The wire contract: pydantic models of what goes in and out. OpenAPI is made from these."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from adapters.predict import Predictions
from adapters.store.heads import HeadSummary
from adapters.suggest import Suggestions
from adapters.tenancy import shown
from adapters.types import Backbone, HeadVersion, Job
from service.replicas.views import ReplicasView

HEAD_NAME = r"^[a-z0-9][a-z0-9._-]{0,62}$"
ALIAS_NAME = r"^[a-z][a-z0-9._-]{0,62}$"
VERSION_OR_ALIAS = r"^([1-9][0-9]{0,8}|[a-z][a-z0-9._-]{0,62})$"
HEAD_REFERENCE = r"^[a-z0-9][a-z0-9._-]{0,62}(@([1-9][0-9]{0,8}|[a-z][a-z0-9._-]{0,62}))?$"


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):  # pydantic would take true for 1 and "3" for 3, which the schema does not say
        raise ValueError("must be a number")
    return value


def _moment(value: Any) -> Any:
    if isinstance(value, str) and "-" not in value[1:]:  # pydantic would take "0.5" for half a second after 1970 began
        raise ValueError("must be a date and time, as 2026-01-31T12:00:00Z")
    return value


NUMBER = BeforeValidator(_number)
Moment = Annotated[datetime, BeforeValidator(_moment)]
Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]  # to look something up by: Postgres has no NUL in texts


class Wire(BaseModel):
    """Base of everything on the wire."""

    model_config = ConfigDict(extra="forbid")


class ItemProblem(BaseModel):
    """One bad item of many."""

    item: str = Field(description="Which: an image by its position and name, a line of a manifest, a class.")
    code: str
    detail: str


class Problem(BaseModel):
    """RFC 9457 problem details; `code` is stable, `item` names what is at fault."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    item: str | None = None
    errors: list[ItemProblem] | None = Field(None, description="Every bad item where items are at fault; at most 50.")
    error_count: int | None = Field(None, description="How many there are, listed or not.")
    limit: int | None = Field(None, description="Of `quota_exceeded`: the most there may be of `item`.")
    used: int | None = Field(None, description="Of `quota_exceeded`: how much there is.")
    request_id: str | None = Field(None, description="As in `X-Request-Id`: what the log lines of the request carry.")


class LabelScore(Wire):
    """One class and its calibrated probability."""

    label: str
    score: float


class Prediction(Wire):
    """What one version of one head says of one image."""

    index: int = Field(description="Position of the image in the request, from 0.")
    head: str
    version: int
    digest: str = Field(description="SHA-256 of the graph that answered.")
    label: Any = Field(description="In the task's shape: a class, a list of labels, a number or numbers by name.")
    score: float | None = Field(description="How sure it is, 0 to 1; null where answers are numbers.")
    top: list[LabelScore]
    novelty: float | None = Field(
        description="The share of held-out examples that are less unlike what was taught: 0.5 is typical, near 1 is "
        "like nothing it was taught. Null from versions made before heads told it."
    )
    set: list[str] | None = Field(None, description="With `coverage`: labels that hold the truth that often.")
    interval: Any = Field(None, description="With `coverage`, of numbers: [low, high], or such pairs by name.")
    coverage: float | None = Field(None, description="The coverage asked for.")
    abstain: bool | None = Field(None, description="With `abstain`: leave this answer be.")


class ItemError(Wire):
    """An image that could not be used (`on_error=skip`)."""

    index: int
    code: str
    detail: str


class HeadError(Wire):
    """A head of several that cannot answer, for a reason of ours."""

    head: str
    code: str
    detail: str = Field(description="What is wrong with it, and how to go on.")


class PredictResponse(Wire):
    """Predictions by image, then by head in the order asked for."""

    predictions: list[Prediction]
    errors: list[ItemError]
    generation: int = Field(
        description="Changes to what is served that this replica had seen when it admitted the request."
    )
    head_errors: list[HeadError] | None = Field(
        None, description="Heads of several that cannot answer; absent where all do. Of a head alone it is the answer."
    )

    @staticmethod
    def plain(result: Predictions) -> dict[str, Any]:
        """The same as a dictionary: on this hot path our own words are not validated."""
        predictions = [
            {
                "index": p.index,
                "head": shown(p.head.version.head),
                "version": p.head.version.number,
                "digest": p.head.version.digest,
            }
            | p.answer
            for p in result.predictions
        ]
        return {
            "predictions": predictions,
            "errors": [asdict(e) for e in result.errors],
            "generation": result.generation,
        } | ({"head_errors": [asdict(e) for e in result.head_errors]} if result.head_errors else {})


class Suggestion(Wire):
    """An image that is worth a label."""

    index: int = Field(description="Position of the image in the request, from 0.")
    label: Any = Field(description="What the head says of it now.")
    score: float | None
    doubt: float = Field(description="The chance that this is wrong, by the head's own calibrated word.")


class SuggestResponse(Wire):
    """Images to label next, the most instructive first."""

    head: str
    version: int
    strategy: Literal["typical", "uncertain"]
    explanation: str
    suggestions: list[Suggestion]
    expected_corrections: float = Field(description="Of the suggested images, how many the head has wrong, expected.")
    expected_of_random: float = Field(description="The same for as many images drawn at random from those sent.")
    errors: list[ItemError]

    @classmethod
    def of(cls, found: Suggestions) -> "SuggestResponse":
        """On the wire."""
        rows = [
            Suggestion(index=index, label=answer["label"], score=answer["score"], doubt=doubt)
            for index, answer, doubt in zip(found.indices, found.answers, found.doubts, strict=True)
        ]
        return cls(
            head=shown(found.head.version.head), version=found.head.version.number, strategy=found.strategy,
            explanation=found.explanation, suggestions=rows, expected_corrections=sum(found.doubts),
            expected_of_random=found.random_doubt * len(rows),
            errors=[ItemError(index=e.index, code=e.code, detail=e.detail) for e in found.errors],
        )  # fmt: skip


class Tap(Wire):
    """Numbers of an embedding that tell one thing of the end of one block."""

    name: str = Field(description="Of the block, as the model calls it.")
    statistic: Literal["regions", "max", "mean", "deviation", "class"]
    offset: int
    length: int


class EmbedResponse(Wire):
    """The backbone's pooled output for each image, and with `taps` what earlier blocks saw."""

    backbone: str
    digest: str
    dimension: int = Field(description="Numbers of `pooled`, the first of each row.")
    taps: list[Tap] = Field(description="What the numbers behind them tell; empty where they were not asked for.")
    embeddings: list[list[float]] = Field(description="One row an image that could be read, in order.")
    indices: list[int] = Field(description="Position in the request of each row.")
    errors: list[ItemError]


class JobRequestView(Wire):
    """What was asked of /finetune."""

    head: str
    task: str
    method: str
    hyperparameters: dict[str, Any]
    backbone: str | None
    mode: Literal["append", "replace"]
    seed: int
    deploy: Literal["auto", "manual", "always"]
    edit: dict[str, Any] | None = Field(description="What was changed of the data that the head had.")
    views: str = Field("auto", description="Views of each image that were to be trained on beside it.")
    reads: str = Field(
        "auto", description="What of an embedding the head was to read: pooled, taps, or as the race has it."
    )
    budget: float | None = Field(None, description="Seconds given to the race; null: chosen by the examples.")
    on_error: Literal["fail", "skip"] = Field("fail", description="What was to become of images that cannot be used.")


class JobError(Wire):
    """Why a job failed."""

    code: str
    message: str
    item: str | None = None
    errors: list[ItemProblem] | None = Field(None, description="Every bad item where items are at fault; at most 50.")
    error_count: int | None = None


class JobRetry(Wire):
    """Why a job that could not go on is being tried again."""

    failures: int = Field(description="Attempts that failed so far; ESPALIER_JOB_RETRIES bounds them.")
    code: str
    message: str
    item: str | None = None


class JobView(Wire):
    """One job of /finetune."""

    id: str
    sequence: int = Field(description="Jobs are numbered as they are accepted; those of a head run in this order.")
    head: str
    status: str
    request: JobRequestView
    received: dict[str, Any] = Field(
        description="How what was sent was understood: layout, classes, what was passed over, left out or changed."
    )
    version: int | None = Field(description="The version it made, once it ended as succeeded or rejected.")
    progress: dict[str, Any] = Field(description="{phase, done, total} of the present phase.")
    metrics: dict[str, Any] | None
    report: dict[str, Any] | None
    error: JobError | None
    retry: JobRetry | None = Field(description="Of a job that waits for another try, or is at one; null otherwise.")
    cancel_requested: bool
    request_id: str | None = Field(
        description="Of the request that it was accepted by; its worker's log lines have it."
    )
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    replicas: ReplicasView | None = Field(None, description="With `wait=all`: how many serve its version.")

    @classmethod
    def of(cls, job: Job) -> "JobView":
        facts = asdict(job)
        received = facts["request"].pop("received")
        facts["request"]["head"] = shown(job.request.head)
        return cls(head=shown(job.request.head), received=received, **facts)


class JobPage(Wire):
    """Jobs, newest first."""

    jobs: list[JobView]
    next: str | None = Field(description="Pass as `before` for the next page; null at the end.")


class VersionView(Wire):
    """One version of a head."""

    version: int
    digest: str
    status: Literal["published", "rejected"]
    method: str
    labels: list[str]
    metrics: dict[str, Any]
    backbone: str
    created_at: datetime
    aliases: list[str]

    @staticmethod
    def plain(version: HeadVersion, aliases: dict[str, int]) -> dict[str, Any]:
        """The same as a dictionary, not validated."""
        manifest = version.manifest
        named = sorted(alias for alias, number in aliases.items() if number == version.number)
        return {
            "version": version.number, "digest": version.digest, "status": version.status, "method": manifest["method"],
            "labels": manifest["classes"], "metrics": manifest["metrics"], "backbone": manifest["backbone"]["name"],
            "created_at": version.created_at, "aliases": named,
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
        description="duplicates, imbalance, suspected_labels, outliers, look_alikes, similar_names, received; lists "
        "are capped, counts are not."
    )
    curve: dict[str, Any] | None = Field(
        None, description="{measure, points, gain, more_images, answer} or {skipped}; absent until it is measured."
    )
    race: list[dict[str, Any]]
    winner: dict[str, Any]
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
            gate=manifest["gate"], parity=manifest["parity"],
        )  # fmt: skip


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


class BackboneView(Wire):
    """A backbone that heads can be trained on."""

    name: str
    digest: str
    precision: str
    dimension: int = Field(description="Numbers of `pooled`, the first part of an embedding.")
    length: int = Field(
        description="Numbers of an embedding, taps included: 4 bytes each, kept for each image and view."
    )
    channels: int
    preprocessing: dict[str, Any]
    details: dict[str, Any]
    default: bool
    loaded: bool

    @classmethod
    def of(cls, backbone: Backbone, *, default: str, loaded: list[str]) -> "BackboneView":
        facts = asdict(backbone)
        facts.pop("artifact")
        return cls(**facts, length=backbone.length, default=backbone.name == default, loaded=backbone.digest in loaded)


class BackboneList(Wire):
    """All backbones."""

    backbones: list[BackboneView]


class MethodView(Wire):
    """A way to train a head and the JSON schema of its hyperparameters."""

    name: str
    tasks: list[str] = Field(description="What it can be used for.")
    hyperparameters: dict[str, Any]

    @classmethod
    def of(cls, name: str, schema: dict[str, Any]) -> "MethodView":
        plain = {key: value for key, value in schema.items() if key != "x-tasks"}
        return cls(name=name, tasks=schema.get("x-tasks", []), hyperparameters=plain)


class MethodList(Wire):
    """All methods."""

    methods: list[MethodView]
