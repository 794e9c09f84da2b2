"""Whether a job trains the last part of the backbone, leaves that to a next stage, or neither, and why."""

from dataclasses import dataclass, replace

from adapters.backbones.cuts import RECORD
from adapters.training.deep import conditions
from adapters.training.race.race import RaceResult
from adapters.training.stages.material import Material
from adapters.types import HeadVersion, JobRequest

# Estimated seconds of a core: 200 examples behind `blocks.5` of the embedded backbone are estimated at 20. What does
# not fit a larger budget that was asked for is left out by the round itself, by estimates of each cut.
LEAST_BUDGET = 30.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What becomes of the wish to train deep."""

    now: bool = False  # in this job
    always: bool = False  # whatever the evidence says: the caller asked for nothing else
    later: bool = False  # in a job of its own, once the shallow version is live
    why: str | None = None  # one sentence of what was not asked for in so many words; None where deep is never


def of(material: Material, shallow: RaceResult, live: HeadVersion | None) -> Plan:
    """By the request, the data, how well the shallow winner does, and the version that is live now.

    A head that is deep already stays so in one job: a shallow version of more data would most likely lose against it.
    """
    asked = material.job.request
    if asked.deep == "never":
        return Plan()
    if asked.deep == "only":
        return Plan(now=True, always=True)
    if asked.of is not None:  # that there is reason to try was looked at when it was queued, for the same data
        return Plan(now=True)
    if (reason := _against(material)) is not None:
        return Plan(why=reason)
    if not asked.keep_examples:
        return Plan(now=True, why="the examples are not kept for a next stage")
    if live is not None and "deep" in live.manifest:
        return Plan(now=True, why="the live version is deep")
    if asked.deploy == "manual":
        return Plan(why="deploy=manual puts no version live that a deeper one could replace")
    if (full := conditions.room(shallow, material.task, material.targets, material.classes)) is not None:
        return Plan(why=full)
    return Plan(later=True, why="the data suffice to try; the version is replaced if the next stage proves better")


def _against(material: Material) -> str | None:
    asked = material.job.request
    if material.backbone.details.get(RECORD) == []:
        return "the backbone cannot be cut"
    if asked.method != "auto":
        return f"method={asked.method} was asked for; deep=only trains deeper from it"
    if asked.budget is not None and asked.budget < LEAST_BUDGET:
        return f"a budget of {asked.budget:g} s is for the race; a deep round wants {LEAST_BUDGET:.0f} s or deep=only"
    return conditions.worth_it(material.divided, material.task, material.targets, len(material.classes))


def next_stage(request: JobRequest, job_id: str) -> JobRequest:
    """What the next stage of a job is asked: the same on the data that its version was made of, gated as any."""
    return replace(request, mode="append", edit=None, deploy="auto", received={}, of=job_id)
