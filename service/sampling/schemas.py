"""The wire contract of sampling: the switch of a head, and the inputs that are kept."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from adapters.errors import InvalidInput
from adapters.sampling.facts import DAYS, KEEP, MOST_DAYS, MOST_KEPT, Sample, Sampling
from adapters.store.sampling.samples import After
from service.intake.labels import AnyLabel, Sha256
from service.limits.slices import in_slices
from service.wire import NUMBER, Wire

NEXT = r"^([0-9](\.[0-9]{1,20})?(e-[0-9]{1,3})?~[0-9a-f]{64})?$"  # hardness and SHA-256


class SamplingRequest(Wire):
    """Whether hard inputs of a head are kept, and how many for how long."""

    enabled: bool = Field(strict=True, description="false: nothing more is kept, and what was kept is deleted.")
    keep: Annotated[int, Field(ge=1, le=MOST_KEPT), NUMBER] = Field(KEEP, description="Samples at most.")
    days: Annotated[float, Field(gt=0, le=MOST_DAYS), NUMBER] = Field(DAYS, description="That one is kept.")


class SamplingView(Wire):
    """Whether hard inputs of a head are kept, and what there is."""

    head: str
    enabled: bool
    keep: int | None = Field(description="Samples at most; null: off.")
    days: float | None = Field(description="That one is kept; null: off.")
    since: datetime | None = Field(description="When it was switched on.")
    samples: int
    bytes: int

    @classmethod
    def of(cls, head: str, found: Sampling | None, sizes: dict[str, int]) -> "SamplingView":
        there: dict[str, Any] = {"head": head, "samples": len(sizes), "bytes": sum(sizes.values())}
        if found is None:
            return cls(enabled=False, keep=None, days=None, since=None, **there)
        return cls(enabled=True, keep=found.keep, days=found.days, since=_moment(found.since), **there)


class SampleView(Wire):
    """One hard input that is kept."""

    sha256: str
    version: int = Field(description="That answered it.")
    answer: dict[str, Any] = Field(description="As /predict gave it, with `novelty`; of `top` the first five.")
    why: list[Literal["abstained", "unsure", "novel"]]
    hardness: float = Field(description="0 to 1: the greater of how much the head hesitated and how novel it is.")
    bytes: int
    asked_at: datetime

    @classmethod
    def of(cls, sample: Sample) -> "SampleView":
        return cls(
            sha256=sample.sha256, version=sample.version, answer=sample.answer, why=list(sample.why),
            hardness=sample.hardness, bytes=sample.size, asked_at=_moment(sample.asked_at),
        )  # fmt: skip


class SamplePage(Wire):
    """Samples, the hardest first."""

    samples: list[SampleView]
    next: str | None = Field(description="Pass as `after` for the next page; null at the end.")

    @classmethod
    def of(cls, found: list[Sample], limit: int) -> "SamplePage":
        last = found[-1] if len(found) == limit else None
        after = None if last is None else f"{last.hardness!r}~{last.sha256}"
        return cls(samples=[SampleView.of(sample) for sample in found], next=after)


class SampleLabelsRequest(Wire):
    """The labels of several samples."""

    labels: Annotated[dict[Sha256, AnyLabel], in_slices(MOST_KEPT)] = Field(
        min_length=1, max_length=MOST_KEPT, description="SHA-256 → label, in the shape of the head's task.",
        json_schema_extra={"additionalProperties": False},
    )  # fmt: skip


def after_of(text: str) -> After | None:
    """`next` of a page before. Raises InvalidInput."""
    if not text:
        return None
    hardness, _, sha256 = text.partition("~")
    try:
        return After(float(hardness), sha256)
    except ValueError:
        raise InvalidInput("'after' must be the `next` of a page before", item="after") from None


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
