"""What a serving process sees of its own answers, and the thread that takes it to the database."""

import logging
import threading
from collections.abc import Callable, Sequence

from sqlalchemy.engine import Engine
from sqlalchemy.exc import SQLAlchemyError

from adapters.errors import EspalierError
from adapters.monitoring.comparing import Comparer, Comparison, is_novel
from adapters.monitoring.tally import Said, Tally, Windows
from adapters.monitoring.watch import DriftWatch
from adapters.rollout.facts import Counts
from adapters.runtime.heads.head import HeadAnswers
from adapters.runtime.heads.loaded import LiveHead, Trial
from adapters.runtime.meters import UNSEEN, Meters
from adapters.store.drift import windows
from adapters.store.rollouts import control
from adapters.tenancy import in_log
from adapters.types import Rows

log = logging.getLogger("espalier.rollout")
EVERY = 1.0  # seconds between looks
DRIFT = 60  # looks between those at what drifts
WINDOWS = 10  # looks between those at which windows are written: there may be one for each head


class Monitor:
    """Counts for roll-outs and of drift. `saw` is called on the event loop for each request, and only counts.

    So does `count`, of the answers of a request: of many a part at a time, in a thread.
    """

    def __init__(self, engine: Engine, meters: Meters = UNSEEN, every: float = EVERY) -> None:
        self._engine, self._meters, self._every = engine, meters, every
        self._tally, self._drift = Tally(), DriftWatch(engine)
        self._comparer: Comparer | None = None  # made for the first comparison
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        """Begin to take counts to the database."""
        self._thread.start()

    def close(self) -> None:
        """Take what is left, and leave no thread behind."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._comparer is not None:
            self._comparer.close()
        self._report()
        self._report_windows()

    def count(self, said: Sequence[Said]) -> None:
        """Some of the answers of a request, a few hundred at most: in any thread, with a lock."""
        self._tally.answered(said)

    def saw(
        self,
        heads: Sequence[LiveHead],
        outputs: Sequence[HeadAnswers | EspalierError],
        said: Sequence[Said],
        embedded: Callable[[], dict[str, Rows]],
    ) -> None:
        """An answered request: its heads with their outputs, all that they said, and what they read, by source."""
        for head, output in zip(heads, outputs, strict=True):
            if head.trial is not None:
                of_first_input = said[: len(heads)]
                first = next((one for one in of_first_input if one.head is head), None)
                self._count(head, head.trial, output, first, embedded)

    def _count(
        self, head: LiveHead, trial: Trial, output: HeadAnswers | EspalierError, first: Said | None,
        embedded: Callable[[], dict[str, Rows]],
    ) -> None:  # fmt: skip
        failed = isinstance(output, EspalierError)
        if first is None and not failed:  # no input could be read: nobody was asked anything
            return
        self._meters.rollout_request(trial.arm)
        if trial.rollout.mode == "canary":
            arm = "live" if trial.arm == "live" else "candidate"
            error = failed or trial.arm == "failed"
            novel = not error and first is not None and is_novel(first.answer)
            self._add(trial, Counts().asked(arm, error, novel))  # type: ignore[arg-type]
        if trial.compare and first is not None:
            self._compare(head, trial, first, embedded)

    def _compare(self, head: LiveHead, trial: Trial, first: Said, embedded: Callable[[], dict[str, Rows]]) -> None:
        found = None if trial.other is None else embedded().get(trial.other.source)
        if found is None and trial.rollout.mode == "shadow":  # it, or its part of the backbone, could not be loaded
            self._add(trial, Counts().asked("live").asked("candidate", error=True))
            return
        if self._comparer is None:
            self._comparer = Comparer(self._compared)
        # `first` is of the first input that could be read.
        if found is None or not self._comparer.offer(Comparison(head, first.answer, found[0].copy())):
            self._add(trial, Counts(dropped=1))
            self._meters.comparison_dropped()

    def _compared(self, head: str, rollout_id: str, counts: Counts) -> None:
        self._tally.add(head, rollout_id, counts)
        if counts.compared:
            self._meters.compared(bool(counts.disagreed))

    def _add(self, trial: Trial, counts: Counts) -> None:
        self._tally.add(trial.rollout.head, trial.rollout.id, counts)

    def _run(self) -> None:
        looks = 0
        while not self._stop.wait(self._every):
            self._report()
            looks += 1
            if looks % WINDOWS == 0:
                self._report_windows()
            if looks % DRIFT == 0:
                self._attempt(lambda: self._meters.drifting(self._drift.look()))

    def _report(self) -> None:
        """Add to the database what was counted, and end roll-outs whose time has come."""
        for (head, rollout_id), counts in sorted(self._tally.take_trials().items()):
            self._attempt(lambda head=head, of=rollout_id, more=counts: self._take(head, of, more))  # type: ignore[misc]

    def _report_windows(self) -> None:
        counted = self._tally.take_windows()
        if counted:
            self._drift.asked(key[:2] for key in counted)
            self._attempt(lambda: self._take_windows(counted))

    def _take_windows(self, counted: Windows) -> None:
        try:
            windows.add(self._engine, counted)
        finally:
            self._tally.put_back(counted)  # what could not be added

    def _take(self, head: str, rollout_id: str, counts: Counts) -> None:
        try:
            going_on = control.add(self._engine, head, rollout_id, counts)
        except SQLAlchemyError:
            self._tally.add(head, rollout_id, counts)  # for the next time
            raise
        ended = control.decide(self._engine, head, rollout_id) if going_on else None
        if ended is not None:
            log.info("the roll-out %s of %s ended by its rules: %s", rollout_id, head, ended, extra=in_log(head))
            self._meters.rollout_ended(ended)

    def _attempt(self, task: Callable[[], None]) -> None:
        try:
            task()
        except SQLAlchemyError as error:
            log.warning("could not take counts to the database; trying again: %s", type(error).__name__)
        except Exception:
            log.exception("could not look at a roll-out")
