"""Heads whose examples were not kept (`keep_examples=false`): ONE rule for what they can still do, and what it says.

Bytes, embeddings and labels went when the version went live. What stays are hashes of the inputs, so that what a
version learned from is never counted as held out, and what it answered to them while held out, as numbers.
"""

from collections.abc import Callable, Sequence, Set

from sqlalchemy.engine import Engine

from adapters import tasks
from adapters.errors import ExamplesNotKept, HeadNotFound, NotEnoughData
from adapters.store import examples, heads
from adapters.tenancy import shown
from adapters.types import DEEP, Example, HeadVersion, JobRequest

AGAIN = "send all examples again with mode=replace"
MOST = 10  # classes that are named
Learned = Callable[[HeadVersion], Set[str]]  # SHA-256 of what a version's weights were fitted to or chosen by


def have_gone(engine: Engine, head: str) -> bool:
    """Whether a head holds no examples because they were not kept."""
    if examples.job_of_head(engine, head) is not None:
        return False
    try:
        versions = heads.summary(engine, head).versions
    except HeadNotFound:
        return False
    return any(version.manifest.get("data", {}).get("kept") is False for version in versions)


def require(engine: Engine, head: str, what: str) -> None:
    """Raises ExamplesNotKept where what is asked needs examples that were not kept."""
    if have_gone(engine, head):
        raise _refusal(head, f"{what} needs the examples of the head {shown(head)!r}, which were not kept")


def begins_at(engine: Engine, request: JobRequest) -> HeadVersion | None:
    """The live version that a job goes on from which adds to a head without its examples; None of any other job.

    Raises ExamplesNotKept where it cannot.
    """
    if request.mode != "append" or not have_gone(engine, request.head):
        return None
    if request.edit is not None:
        require(engine, request.head, "to change them")
    live = heads.find_live(engine, request.head)
    if live is None or (reason := _against(live, request)) is not None:
        said = "no version of it is live to go on from" if live is None else reason
        raise _refusal(request.head, f"the examples of the head {shown(request.head)!r} were not kept, and {said}")
    return live


def check(engine: Engine, request: JobRequest, sent: Sequence[Example], learned: Learned) -> HeadVersion | None:
    """The same, once it is known what came. Raises NotEnoughData where nothing that it has not learned came of a class
    that the version knows.

    Nobody could tell, nor hold back, what is forgotten of such a class.
    """
    version = begins_at(engine, request)
    if version is not None:
        task, seen = tasks.get(request.task), learned(version)
        _require_classes(version, {name for example in sent for name in task.names(example.label)}, nothing_came)
        unseen = (example for example in sent if example.sha256 not in seen)
        _require_classes(version, {name for example in unseen for name in task.names(example.label)}, unasked)
    return version


def _require_classes(version: HeadVersion, there: Set[str], refusal: Callable[..., NotEnoughData]) -> None:
    missing = [name for name in version.manifest["classes"] if name not in there]
    if missing:
        raise refusal(version, missing)


def nothing_came(version: HeadVersion, missing: Sequence[str]) -> NotEnoughData:
    """What is said where nothing was sent of classes that a version knows."""
    return _unmeasured(version, missing, "nothing came of", "send some examples of each class besides")


def unasked(version: HeadVersion, missing: Sequence[str]) -> NotEnoughData:
    """What is said where nothing can be held out of classes that a version knows."""
    fix = f"send two or more different examples of each class that version {version.number} has not seen"
    return _unmeasured(version, missing, "nothing new that could be held out came of", fix)


def _unmeasured(version: HeadVersion, missing: Sequence[str], what: str, fix: str) -> NotEnoughData:
    more = f" and {len(missing) - MOST} more" if len(missing) > MOST else ""
    return NotEnoughData(
        f"{what} {', '.join(name[:50] for name in missing[:MOST])}{more}, which version {version.number} knows and "
        "whose examples were not kept: what is forgotten of them could be neither measured nor held back; "
        f"{fix}, or {AGAIN}",
        item=missing[0][:80],
    )


def _against(live: HeadVersion, request: JobRequest) -> str | None:
    """Why a job cannot go on from a version."""
    deep, backbone = live.manifest.get("deep", {}), live.manifest["backbone"]["name"]
    if "program" not in deep:
        kind = "has no trained part of the backbone" if not deep else "was made while examples were kept"
        return f"version {live.number}, which is live, {kind}: there is nothing to go on from"
    if tasks.get(request.task).OBJECTIVE == "squared":
        return f"numbers are scaled by all examples: {request.task} cannot go on from a part of them"
    if request.deep != "only" or request.method not in ("auto", DEEP):
        return f"only a deep fit goes on from version {live.number} (method=deep, or auto without deep=never)"
    if request.keep_examples:
        return "keep_examples=true would keep only what is added"
    if request.backbone not in (None, backbone):
        return f"version {live.number} stands on the backbone {backbone}, not on {request.backbone}"
    if request.hyperparameters.get("unfreeze", "auto") not in ("auto", cut := deep["cut"]["name"]):
        return f"version {live.number} is cut at {cut}: `unfreeze` cannot be another"
    if request.hyperparameters.get("hidden"):
        return f"the head of version {live.number} is gone on from: `hidden` cannot make another"
    return None


def _refusal(head: str, why: str) -> ExamplesNotKept:
    return ExamplesNotKept(f"{why} (keep_examples=false); {AGAIN}", item=shown(head))
