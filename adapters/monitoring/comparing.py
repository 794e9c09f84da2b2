"""Asking a second version what the first one was asked, once the answer is out: a thread, a bound, and a rate.

A comparison runs one head on one embedding, some tens of µs, or a deep one on a tap, a millisecond or more. Whether one
is left out depends on how many there are, not on what is asked, so that those made are a fair sample of all.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from adapters import tasks
from adapters.rollout.facts import Asked, Counts
from adapters.runtime.heads.loaded import LiveHead
from adapters.runtime.heads.pairs import Pairs, alone
from adapters.tenancy import in_log
from adapters.trust import NOVEL
from adapters.types import Schema

log = logging.getLogger("espalier.rollout")
MOST_WAITING = 64
MOST_A_SECOND = 100  # of a process: at most a hundredth of a core
WHOLE_BACKBONE = 60  # comparisons that the work of a whole backbone is worth; a deep head does its share of it


@dataclass(frozen=True, slots=True)
class Comparison:
    """One input that one version has answered, and the other shall be asked."""

    answered: LiveHead  # with its trial, whose `other` is asked
    answer: dict[str, Any]
    read: NDArray[Any] | Pairs  # what the other one reads of it: an embedding f32 [E], a tap, or both

    @property
    def cost(self) -> int:
        """How many comparisons with a shallow version it is worth."""
        trial = self.answered.trial
        deep = None if trial is None or trial.other is None else trial.other.deep
        return 1 if deep is None else 1 + round(WHOLE_BACKBONE * deep.share)


class Comparer:
    """The thread that asks. `count` is told of (head, roll-out, counts)."""

    def __init__(self, count: Callable[[str, str, Counts], None]) -> None:
        self._count = count
        self._waiting: queue.SimpleQueue[Comparison | None] = queue.SimpleQueue()
        self._second, self._made = 0, 0  # this second of the clock, and how much was taken on in it
        self._thread = threading.Thread(target=self._run, name="rollout-compare", daemon=True)
        self._thread.start()

    def offer(self, comparison: Comparison) -> bool:
        """Never waits; False where there are too many. Called from one thread."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._made = second, 0
        if self._made >= MOST_A_SECOND or self._waiting.qsize() >= MOST_WAITING:
            return False
        self._made += comparison.cost
        self._waiting.put(comparison)
        return True

    def close(self) -> None:
        """End after those that wait."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (comparison := self._waiting.get()) is not None:
            trial = comparison.answered.trial
            assert trial is not None
            try:
                self._count(trial.rollout.head, trial.rollout.id, compared(comparison))
            except Exception:
                head = trial.rollout.head
                log.exception("a comparison of versions of %s failed", head, extra=in_log(head))


def compared(comparison: Comparison) -> Counts:
    """Ask the other version, and see whether the two agree.

    In the shadow this is all that is asked of the candidate, and what live said counts beside it. In a canary both
    versions count what they answered themselves.
    """
    answered, trial = comparison.answered, comparison.answered.trial
    assert trial is not None and trial.other is not None
    shadow = trial.rollout.mode == "shadow"
    try:
        said = _said(trial.other, comparison.read)
    except Exception as error:  # whatever its graph raises
        number, head = trial.other.version.number, trial.rollout.head
        log.warning("version %d of %s failed: %s", number, head, type(error).__name__, extra=in_log(head))
        return Counts(live=_asked(comparison.answer), candidate=Asked(1, errors=1)) if shadow else Counts()
    schema = Schema(answered.classes, answered.version.manifest.get("decision", {}))
    agree = tasks.get(answered.task).agree(comparison.answer["label"], said["label"], schema)
    arms = (_asked(comparison.answer), _asked(said)) if shadow else (Asked(), Asked())
    return Counts(*arms, compared=1, disagreed=int(not agree))


def _said(head: LiveHead, read: NDArray[Any] | Pairs) -> dict[str, Any]:
    answers = head.head.answer(alone(read))
    schema = Schema(head.classes, head.version.manifest.get("decision", {}))
    novelty = None if answers.novelty is None else float(answers.novelty[0])
    return tasks.get(head.task).decode(answers.row(0), schema, 1) | {"novelty": novelty}


def _asked(answer: dict[str, Any]) -> Asked:
    return Asked(1, novel=int(is_novel(answer)))


def is_novel(answer: dict[str, Any]) -> bool:
    """Whether it says that its input is like nothing it was taught."""
    novelty = answer["novelty"]
    return novelty is not None and novelty > NOVEL
