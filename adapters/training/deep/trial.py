"""One cut, tried: fits of its tail to folds, which answer what they have not seen, and the fit to all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from adapters.recipe import AUTO, Hyperparameters
from adapters.training.deep.fit import Fit, Fitting, Watch
from adapters.training.deep.fitting.batches import Batches
from adapters.training.deep.fitting.network import ASKED, Network
from adapters.training.deep.records import END, Option, Record, Records
from adapters.training.deep.starts import Start
from adapters.training.deep.taps import Taps
from adapters.training.race.cross_validation import Data
from adapters.training.trust import novelty
from adapters.training.trust.calibrate import spread
from adapters.training.trust.novelty import Apart
from adapters.types import Cut, Floats, Indices

MIXES = (0.0, 0.25, 0.5, 0.75, 1.0)
Fold = tuple[Indices, Indices]
Report = Callable[[dict[str, Any]], None]


@dataclass(frozen=True, slots=True)
class Journal:
    """Where fits write what they found, and who wants to know."""

    records: Records
    report: Report
    watch: Watch

    def look(self) -> None:
        """Between steps of what can be done again."""
        self.watch(self.records.to_bytes)

    def run(self, name: str, fitting: Fitting) -> Fit:
        """A fit from where it was left, or from its beginning."""
        if self.records.begun and self.records.begun[0] == name:
            fitting.resume(self.records.begun[1])

        def watched(state: Callable[[], bytes]) -> None:
            self.watch(lambda: self._with(name, state()))

        fit = fitting.run(watched, lambda row: self.report({"fit": name, "of": fitting.epochs} | row))
        self.records.begun = (name, fitting.state())  # it has ended, but what it says is not on record yet
        return fit

    def _with(self, name: str, state: bytes) -> bytes:
        return replace(self.records, begun=(name, state)).to_bytes()

    def keep(self, name: str, record: Record) -> None:
        """A fit is done."""
        self.records.done[name] = record
        self.records.begun = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What the fits to one cut's tail share."""

    cut: Cut
    tail: bytes  # f32, as the backbone has it, or an earlier version
    taps: Taps
    data: Data  # of `pooled` alone
    starts: Start
    recipe: Hyperparameters
    seed: int
    groups: Indices | None = None  # of like examples, i64 [N], where fits to folds tell how far the unseen lie

    def tried(self, folds: Sequence[Fold], of: int, journal: Journal) -> list[Record]:
        """Fits to the first folds of so many, but for those on record."""
        found = []
        for number, fold in enumerate(folds, start=1):
            name = f"{self.cut.name}, fold {number} of {of}"
            if name not in journal.records.done:
                journal.keep(name, self._fitted(fold, name, journal))
            found.append(journal.records.done[name])
        return found

    def final(self, index: Indices, option: Option, epochs: int, journal: Journal) -> tuple[Network, Fit]:
        """A fit to all that may be learned from, for so many epochs, and so far from its start as the option says."""
        fitting = self._fitting(index, None, epochs)
        fit = journal.run(f"{self.cut.name}, on all", fitting)
        fitting.network.become(fitting.network.mixed(fit.weights, option[1]))
        return fitting.network, fit

    def asked(self, network: Network, index: Indices, look: Callable[[], None]) -> Floats:
        """Raw outputs of examples as they are served."""
        return network.asked(self.taps, index, look)

    def _fitted(self, fold: Fold, name: str, journal: Journal) -> Record:
        train, unseen = fold
        fitting = self._fitting(train, unseen, self.recipe.epochs)
        fit = journal.run(name, fitting)
        answering = self.recipe.answering
        epochs = range(1, len(fit.said) + 1) if self.recipe.patience and answering else ()
        options: list[Option] = [(epoch, answering) for epoch in epochs]
        said, spreads = [fit.said[epoch - 1] for epoch in epochs], [0.0] * len(epochs)
        apart: dict[float, Apart] = {}
        for mix in self._mixes:
            fitting.network.become(fitting.network.mixed(fit.weights, mix))
            told = fit.said and mix == answering  # at the end of the last epoch
            said.append(fit.said[-1] if told else self.asked(fitting.network, unseen, journal.look))
            spreads.append(spread(self.asked(fitting.network, self.some(train), journal.look)))
            options.append((END if mix else 0, mix))
            if mix and self.groups is not None:  # at its start a tail knows none of them by heart
                apart[mix] = self._apart(self.groups, fitting.network, fold, journal.look)
        scatters, distances = [each.scatter for each in apart.values()], [each.distances for each in apart.values()]
        by_mix = np.stack(distances) if distances else np.zeros((0, 0), np.float32)
        return Record(np.stack(said), options, spreads, fit.curves, list(apart), scatters, by_mix)

    def _apart(self, groups: Indices, network: Network, fold: Fold, look: Callable[[], None]) -> Apart:
        """How far from what it was fitted to a tail sees what it was not."""
        train, unseen = fold
        taught = novelty.some_of_each(groups, train)
        known, new = (network.pooled(self.taps, index, look) for index in (taught, unseen))
        return novelty.apart(known, groups[taught], new)

    @staticmethod
    def some(index: Indices) -> Indices:
        """A few examples, to see how far apart outputs lie."""
        return index[:: 1 + len(index) // (4 * ASKED)]

    def _fitting(self, train: Indices, unseen: Indices | None, epochs: int) -> Fitting:
        pixels = self.cut.kind == "input"
        batches = Batches(
            self.taps, train, self.recipe.batch_size, self.recipe.augment, self.recipe.mixup, self.seed, pixels,
            self.data.classes,
        )  # fmt: skip
        network = Network(self.tail, self.starts.on(train), self.recipe)
        truth: torch.Tensor = self.data.targets
        return Fitting(network, batches, truth, unseen, self.data.objective, self.recipe, self.seed, epochs)

    @property
    def _mixes(self) -> Sequence[float]:
        return MIXES if self.recipe.mix == AUTO else [float(self.recipe.mix)]
