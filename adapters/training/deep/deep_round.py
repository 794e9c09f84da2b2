"""The second round of a race: tails of the backbone, trained with their heads, against the shallow winner.

a cut that the budget allows → taps → fits to the race's own folds → the best option → evidence → the fit to all

Budgets are in estimated operations, so that the same data and seed give the same round on a busy machine.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from adapters import recipe
from adapters.recipe import AUTO
from adapters.spans import traced
from adapters.training import programs
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import MadeUp
from adapters.training.data.split import Fold
from adapters.training.deep import ensembles, evidence, outcome, taps
from adapters.training.deep.examples import Examples
from adapters.training.deep.fit import Watch
from adapters.training.deep.fitting import augmenting
from adapters.training.deep.fitting.network import Network
from adapters.training.deep.judged import Judge, Judged
from adapters.training.deep.outcome import Declined, DeepResult
from adapters.training.deep.plan import FIRST, HELD_OUT, Known, Plan, folds_of, plan
from adapters.training.deep.pool import Choice
from adapters.training.deep.records import Record, Records
from adapters.training.deep.starts import Begin, Start, Starts
from adapters.training.deep.trial import Journal, Report, Trial
from adapters.training.race.objectives import Calibration, softmax
from adapters.training.race.race import LEAST_SPREAD, RaceResult
from adapters.training.trust.calibrate import spread
from adapters.types import Cut, Device, HeadProgram, Indices

Row = dict[str, Any]


@traced("deep round")
def run(
    folder: Path,
    graph: bytes,
    made_up: MadeUp,
    examples: Examples,
    shallow: RaceResult,
    hyperparameters: dict[str, Any],
    seed: int,
    report: Report,
    watch: Watch,
    *,
    lanes: int = 1,
    device: Device = "cpu",
    budget: float | None = None,
    always: bool = False,
    checkpoint: bytes | None = None,
    basis: str = "",
    begin: Begin | None = None,
    room: float = math.inf,
    memory: float = math.inf,
) -> DeepResult | Declined:
    """Train tails of a backbone's graph, and compare them with the shallow winner.

    `made_up` gives inputs as the graph takes them. `folder` is for taps, `room` bytes of them; what is there of an
    interrupted round is used. Fits may take `memory`, bytes. `report` gets a row after each epoch; `watch` is called
    after each step, with what makes a checkpoint, and may raise: what it raises is passed on. `budget` is in estimated
    seconds of one core. `always`: a result whatever the evidence says. `basis` tells examples, folds and `begin` from
    others: a checkpoint of another basis is begun anew. `begin`: where fits begin in the place of the backbone's tail
    and the shallow winner, behind the cut that the hyperparameters name. Raises InvalidHyperparameter, InvalidInput for
    a backbone that cannot be cut, or not there, and TooMuchData where there is no room for what a named cut is trained
    on, or no memory for a step.
    """
    journal = Journal(Records.gone_on(checkpoint, basis), report, watch)
    return _Round(folder, graph, made_up, examples, shallow, hyperparameters, seed, journal, lanes, device, begin).run(
        budget, always, room, memory
    )


Tried = tuple[Trial, list[Record]]  # a cut, with what its fits to folds say


class _Round:
    """One under way."""

    def __init__(
        self,
        folder: Path,
        graph: bytes,
        made_up: MadeUp,
        examples: Examples,
        shallow: RaceResult,
        hyperparameters: dict[str, Any],
        seed: int,
        journal: Journal,
        lanes: int,
        device: Device,
        begin: Begin | None,
    ) -> None:
        self.recipe = recipe.check(hyperparameters, examples.task.OBJECTIVE)
        self.folder, self.graph, self.made_up, self.seed = folder, graph, made_up, seed
        self.examples, self.shallow, self.journal, self.lanes, self.device = examples, shallow, journal, lanes, device
        self.data = examples.pooled()
        self.own = None if begin is None else begin.tail
        self.known: Sequence[Indices] = () if begin is None else begin.known
        self.starts: Start = (
            Starts(self.data, shallow, self.recipe, seed, journal.look) if begin is None else begin.start
        )
        self.judge = Judge(self.recipe, shallow, examples, self.data, begin is None)
        self.folds: list[Fold] = []

    def run(self, budget: float | None, always: bool, room: float, memory: float) -> DeepResult | Declined:
        """See the function of that name."""
        split = self.examples.split
        self.folds = folds_of(split, HELD_OUT if always else FIRST, self.known)
        known = Known(len(self.examples.embeddings), len(split.rest), self.examples.lengths)
        planned = plan(self.graph, self.made_up, self.recipe, known, self.folds, budget, room, always, memory)
        if not planned.entries:
            return self._declined({"passed": False, "reason": planned.note}, [], planned.note)
        tried = self._tried(planned)
        looks = 1 if always else 1 + len(split.folds) - len(self.folds)
        judged = self._judged(tried, looks)
        while not always and self._undecided(judged, planned, looks):
            tried = self._on_another_fold(tried, judged.likeliest)
            judged = self._judged(tried, looks)
        if not (judged.proof["passed"] or always):
            return self._declined(judged.proof, judged.table, planned.note)
        trial, records = next(pair for pair in tried if pair[0].cut.name == judged.found.choice.cut)
        return self._result(trial, records, judged, planned.note)

    def _tried(self, planned: Plan) -> list[Tried]:
        """Cuts in turn, for as long as the last one brought something."""
        found: list[Tried] = []
        for entry in planned.entries:
            trial = Trial(
                entry.cut, self.own or entry.tail, self._taps(entry.cut), self.data, self.starts,
                self.recipe.model_copy(update={"learning_rate": entry.rate}), self.seed, self._groups,
            )  # fmt: skip
            records = trial.tried(self.folds, len(self.examples.split.folds), self.journal)
            found.append((trial, records))
            if not self.judge.has_brought(entry.cut.name, records, self.folds):
                break
        return found

    @property
    def _groups(self) -> Indices | None:
        """Of like examples, where there is no test set to tell novelty by."""
        return None if len(self.examples.split.test) else self.examples.task.kinds(self.examples.targets)

    def _undecided(self, judged: Judged, planned: Plan, looks: int) -> bool:
        """More answers might show a gain, and there is time for them."""
        now, of = len(self.folds), len(self.examples.split.folds)
        begun = of + 1 - looks
        promising = evidence.promising(judged.proof, now / of, looks)
        return promising and planned.allows(judged.likeliest, begun, now + 1)

    def _on_another_fold(self, tried: list[Tried], name: str) -> list[Tried]:
        """One of the cuts alone, tried on one more of what it was not tried on yet."""
        folds = self.examples.split.folds
        self.folds = folds[: len(self.folds) + 1]
        (trial,) = (trial for trial, _ in tried if trial.cut.name == name)
        return [(trial, trial.tried(self.folds, len(folds), self.journal))]

    def _judged(self, tried: list[Tried], looks: int) -> Judged:
        return self.judge.judged([(trial.cut.name, records) for trial, records in tried], self.folds, looks)

    def _taps(self, cut: Cut) -> taps.Taps:
        views, vary = augmenting.cached(self.recipe, cut.kind), augmenting.of_each(self.recipe, self.seed)
        file, given = self.folder / f"{cut.name}.taps", self.examples
        return taps.make(
            file, cuts.trunk(self.graph, cut), cut, given.look, len(given.embeddings), views, self.journal.look, vary,
            lanes=self.lanes, device=self.device, lengths=given.lengths,
        )  # fmt: skip

    def _result(
        self,
        trial: Trial,
        records: list[Record],
        judged: Judged,
        note: str,
    ) -> DeepResult:
        pool, found, choice = judged.pool, judged.found, judged.found.choice
        option, epochs = choice.option, outcome.epochs_of(choice.option, records)
        network, fit = trial.final(self.examples.split.rest, option, epochs, self.journal)
        wider = self._wider(trial, network, records[-1].spreads[records[-1].options.index(option)])
        program, calibration = self._program(choice, network, found.calibration, wider)
        tail, task = network.tail.to_onnx(), self.examples.task
        everyone = np.arange(len(self.examples.embeddings))
        curves = [row | {"fit": name} for name, record in self.journal.records.done.items() for row in record.curves]
        return DeepResult(
            cut=trial.cut,
            tail=tail,
            program=program.then(*calibration.steps, *self.data.finish),
            uncalibrated=program.then(*self.data.finish),
            finish=len(calibration.steps) + len(self.data.finish),
            pooled=network.pooled(trial.taps, everyone, self.journal.look),
            beside=self.examples.embeddings[:, : self.shallow.reads] if choice.weight else None,
            hyperparameters=self._used(trial, choice, epochs, network),
            outputs=task.answers(programs.run(HeadProgram((*found.calibration.steps, *self.data.finish)), found.raw)),
            unscaled=task.answers(programs.run(HeadProgram(self.data.finish), found.raw)),
            index=pool.index,
            unlearned=outcome.unlearned(option, records),
            calibration=calibration.facts,
            curves=outcome.kept([*curves, *(row | {"fit": f"{trial.cut.name}, on all"} for row in fit.curves)], epochs),
            evidence=judged.proof,
            table=judged.table,
            note=note + self._left_out(choice),
            seconds=self.journal.records.seconds,
            earlier=self.journal.records.earlier,
        )

    def _program(
        self, choice: Choice, network: Network, apart: Calibration, wider: float
    ) -> tuple[HeadProgram, Calibration]:
        """To raw outputs, and their calibration: what the fits to folds say of it, carried over as the race does."""
        deep = network.head.program()
        if choice.weight:
            dimension, finish = self.examples.dimension, len(self.data.finish)
            return ensembles.program(deep, dimension, self.shallow, finish, choice.weight, 1 / wider), apart
        if self.data.objective == "softmax":
            return deep, softmax.divided(apart.facts["temperature"] * wider)
        return deep, apart

    def _wider(self, trial: Trial, network: Network, before: float) -> float:
        """How much more the final fit's logits spread than those of the last fold's (docs/adr/0011)."""
        if self.data.objective != "softmax" or not before:
            return 1.0
        train, _ = self.folds[-1]
        now = spread(trial.asked(network, trial.some(train), self.journal.look))
        return max(now, LEAST_SPREAD) / max(before, LEAST_SPREAD)

    def _used(self, trial: Trial, choice: Choice, epochs: int, network: Network) -> Row:
        resolved = {
            "unfreeze": trial.cut.name, "mix": choice.option[1], "ensemble": choice.weight, "epochs_kept": epochs,
            "layer_decay": network.decay,
        }  # fmt: skip
        return trial.recipe.model_dump() | resolved

    def _left_out(self, choice: Choice) -> str:
        """What was asked for and could not be had."""
        if self.recipe.ensemble in (AUTO, choice.weight):
            return ""
        return "; no ensemble: the race did not ask its winner about all examples that are held out here"

    def _declined(self, proof: Row, table: list[Row], note: str) -> Declined:
        curves = [row | {"fit": name} for name, record in self.journal.records.done.items() for row in record.curves]
        records = self.journal.records
        return Declined(proof, table, curves, note, records.seconds, records.earlier)
