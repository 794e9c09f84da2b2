"""The wire contract of jobs: what /finetune and changes of a head answer, and /jobs tells."""

from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from adapters.tenancy import shown
from adapters.types import Job
from service.replicas.views import ReplicasView
from service.wire import ItemProblem, Wire


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
    views: str = Field("auto", description="Views of each input that were to be trained on beside it.")
    reads: str = Field(
        "auto", description="What of an embedding the head was to read: pooled, taps, or as the race has it."
    )
    budget: float | None = Field(None, description="Seconds given to the race; null: chosen by the examples.")
    on_error: Literal["fail", "skip"] = Field("fail", description="What was to become of inputs that cannot be used.")
    deep: Literal["auto", "never", "only"] = Field(
        "never", description="Whether the last part of the backbone was to be trained with the head."
    )
    keep_examples: bool = Field(True, description="Whether the head was to keep its examples once the version is live.")


class DeepView(Wire):
    """Which of two stages a job is: a head on the frozen backbone, or one with the backbone's last part trained too."""

    stage: Literal["shallow", "deep"]
    of: str | None = Field(None, description="The job whose version the deep stage is to improve on.")
    next: str | None = Field(None, description="The job that is the next stage, once the version is live.")
    why: str | None = Field(None, description="Why there is a next stage or none, or why the deep stage made nothing.")

    @classmethod
    def of_job(cls, job: Job) -> "DeepView | None":
        """As the job's end says, or as far as is known before it; None where deep is not wanted."""
        if job.request.deep == "never":
            return None
        said = (job.report or {}).get("deep")
        if said is not None:
            return cls(**{name: said[name] for name in cls.model_fields if name in said})
        return cls(stage="deep" if job.request.of or job.request.deep == "only" else "shallow", of=job.request.of)


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
    version: int | None = Field(
        description="The version it made, once it ended as succeeded or rejected; null of a next stage that proved no "
        "better."
    )
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
    deep: DeepView | None = Field(None, description="Which stage it is; null where `deep` is never.")
    replicas: ReplicasView | None = Field(None, description="With `wait=all`: how many serve its version.")

    @classmethod
    def of(cls, job: Job) -> "JobView":
        facts = asdict(job)
        received = facts["request"].pop("received")
        facts["request"].pop("of")
        facts["request"]["head"] = shown(job.request.head)
        return cls(head=shown(job.request.head), received=received, deep=DeepView.of_job(job), **facts)


class JobPage(Wire):
    """Jobs, newest first."""

    jobs: list[JobView]
    next: str | None = Field(description="Pass as `before` for the next page; null at the end.")
