"""Which version answers a request while a roll-out is under way, and what happens where the candidate cannot."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from adapters.errors import CandidateFailed, EspalierError
from adapters.rollout import turns
from adapters.rollout.facts import Arm, Rollout
from adapters.runtime.failures import or_reason
from adapters.runtime.heads.head import HeadAnswers
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.heads.loaded import LiveHead, Trial
from adapters.store.heads import LIVE
from adapters.tenancy import in_log, shown
from adapters.types import Embeddings, HeadRef

log = logging.getLogger("espalier.rollout")
Found = Sequence[LiveHead | EspalierError]


async def directed(
    live: LiveHeads, refs: Sequence[HeadRef], found: Found, key: Callable[[], bytes], able: Callable[[LiveHead], object]
) -> Found:
    """The versions that answer: of a head whose live version was asked for, and that is rolled out, the one whose turn
    it is. `able` raises where a version cannot answer as the request wants it to.
    """
    if not live.rollouts.running:
        return found
    return [await _of_one(live, ref, head, key, able) for ref, head in zip(refs, found, strict=True)]


async def _of_one(
    live: LiveHeads, ref: HeadRef, head: LiveHead | EspalierError, key: Callable[[], bytes],
    able: Callable[[LiveHead], object],
) -> LiveHead | EspalierError:  # fmt: skip
    rollout = live.rollouts.running.get(ref.name)
    if rollout is None or isinstance(head, EspalierError) or ref != HeadRef(ref.name, alias=LIVE):
        return head
    if head.version.number != rollout.base:  # `live` was moved just now: what is rolled out was compared with another
        return head
    its_turn = turns.is_candidates(rollout.id, rollout.weight, key())
    if rollout.mode == "shadow":
        return _shadowed(live, rollout, head) if its_turn else head
    if not its_turn:
        return _take(rollout, "live", head, None, False)
    candidate = await _candidate(live, rollout, able)
    if candidate is None:
        return _take(rollout, "failed", head, None, False)
    return _take(rollout, "candidate", candidate, head, candidate.backbone_digest == head.backbone_digest)


def _shadowed(live: LiveHeads, rollout: Rollout, head: LiveHead) -> LiveHead:
    """Nobody waits for a candidate that only shadows: where it was evicted, this request goes uncompared."""
    candidate = live.peek(HeadRef(rollout.head, version=rollout.version))
    if candidate is None and rollout.head not in live.rollouts.unloadable:
        return head
    return _take(rollout, "live", head, candidate, True)


async def _candidate(live: LiveHeads, rollout: Rollout, able: Callable[[LiveHead], object]) -> LiveHead | None:
    """None where it cannot answer."""
    if rollout.head in live.rollouts.unloadable:
        return None
    ref = HeadRef(rollout.head, version=rollout.version)
    found = live.peek(ref)
    try:
        candidate = found if found is not None else await or_reason(live.fetch(ref))
        if isinstance(candidate, EspalierError):
            return None
        able(candidate)
    except EspalierError:
        return None
    return candidate


def _take(rollout: Rollout, arm: Arm, head: LiveHead, other: LiveHead | None, compare: bool) -> LiveHead:
    return replace(head, trial=Trial(rollout, arm, other, compare))


def ask(head: LiveHead, embeddings: Embeddings) -> HeadAnswers | CandidateFailed:
    """What a version says of embeddings f32 [N, E], N ≥ 1. What a candidate fails of is evidence, and no error."""
    if head.trial is None or head.trial.arm != "candidate":
        return head.head.answer(embeddings)
    try:
        return head.head.answer(embeddings)
    except Exception as error:  # whatever the graph raises
        number, name = head.version.number, head.version.head
        log.warning("version %d of %s failed: %s", number, name, type(error).__name__, extra=in_log(name))
        return CandidateFailed(f"version {head.version.number} of {shown(head.version.head)!r} could not answer")


def stand_ins(heads: list[LiveHead], outputs: Sequence[HeadAnswers | EspalierError]) -> list[LiveHead]:
    """The same with live in the place of candidates that failed; the very list where none did."""
    pairs = list(zip(heads, outputs, strict=True))
    return [_stand_in(head, output) for head, output in pairs] if any(_failed(*pair) for pair in pairs) else heads


def _stand_in(head: LiveHead, output: HeadAnswers | EspalierError) -> LiveHead:
    trial = head.trial
    if trial is None or trial.other is None or not _failed(head, output):
        return head
    return replace(trial.other, trial=replace(trial, arm="failed", compare=False))


def _failed(head: LiveHead, output: HeadAnswers | EspalierError) -> bool:
    return isinstance(output, EspalierError) and head.trial is not None and head.trial.arm == "candidate"
