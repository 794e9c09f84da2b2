"""Where deep fits begin: shallow heads that read `pooled` alone, fitted to what a fit sees and to nothing else.

The winner of a race may read more of an embedding than the tail's own output, which is all that a deep head has. So it
is the best of the race that reads `pooled`; whether what becomes of it beats the winner is what the evidence is for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch

from adapters import methods
from adapters.backbones.parts import POOLED
from adapters.methods import Setting
from adapters.modalities import NONE
from adapters.recipe import Hyperparameters
from adapters.training import programs
from adapters.training.embedding.views import Source
from adapters.training.race.cross_validation import Data
from adapters.training.race.race import RaceResult
from adapters.types import Fitted, HeadProgram, Indices, Linear

USUAL = {"softmax": "logistic", "sigmoid": "logistic", "squared": "ridge"}  # where a race compared none on `pooled`
LAYER = "mlp"  # of heads with a hidden layer
SOURCE = Source(NONE, POOLED)
APART = 5  # one example of a class in so many tells the scale of logits


class Start(Protocol):
    """Where a fit's head begins."""

    def on(self, index: Indices) -> HeadProgram:
        """pooled f32 [N, D] → raw outputs [N, K], from these examples and no others."""


@dataclass(frozen=True, slots=True, eq=False)
class Begin:
    """Where fits begin that go on from an earlier version: its own tail, not the backbone's."""

    tail: bytes  # f32
    start: Start
    known: Sequence[Indices] = ()  # positions of each class that it knows: something of each is asked about


class Starts:
    """Makes them, each from some of the examples."""

    def __init__(
        self, data: Data, shallow: RaceResult, recipe: Hyperparameters, seed: int, cancelled: Callable[[], None]
    ) -> None:
        """`data` are those of a race that reads `pooled` alone."""
        self._data, self._seed, self._cancelled = data, seed, cancelled
        if recipe.hidden:
            self.method, self._setting = self._middle(LAYER, {"hidden": recipe.hidden, "dropout": recipe.dropout})
        else:
            self.method, self._setting = _best(shallow.table) or self._middle(USUAL[data.objective], {})

    def on(self, index: Indices) -> HeadProgram:
        """pooled f32 [N, D] → raw outputs [N, K], fitted to these examples; logits have the scale of a loss's own.

        A closed form's logits may have any, which only a temperature makes probabilities of. It is told by a part of
        the examples that a fit to the others has not seen.
        """
        program = self._fitted(index)
        if self._data.objective != "softmax":
            return program
        others, apart = parts(self._data.truth[index])
        if not len(apart):
            return program
        asked = self._data.embeddings[torch.from_numpy(index[apart]).to(self._data.embeddings.device)]
        raw = programs.run(self._fitted(index[others]), asked)
        heat = self._data.goal.calibrate(raw, self._data.truth[index[apart]]).facts["temperature"]
        return _cooled(program, heat)

    def _fitted(self, index: Indices) -> HeadProgram:
        inputs, targets = self._data.fitted_on(index, SOURCE)
        method, settings = methods.get(self.method), [self._setting]
        return method.fit(
            inputs, targets, self._data.classes, settings, self._seed, self._cancelled, None, True, self._data.objective
        )[0]

    def _middle(self, name: str, asked: Setting) -> tuple[str, Setting]:
        """The middle of what `auto` would try of a method, with what is asked for."""
        found = methods.get(name).settings(methods.check(name, asked), self._data.regimes[SOURCE])
        return name, found[len(found) // 2]


def _best(table: list[dict[str, Any]]) -> tuple[str, Setting] | None:
    """Of a race's table, best first, the first row that reads `pooled`; one without further views where there is."""
    rows = [row for row in table if row["reads"] == POOLED]
    plain = [row for row in rows if row["views"] == NONE] or rows
    return (plain[0]["method"], plain[0]["hyperparameters"]) if plain else None


def parts(truth: Fitted) -> tuple[Indices, Indices]:
    """Rows to fit on, and one in five of each class, or of all, to ask about; none of a class with fewer."""
    classes = truth if truth.ndim == 1 else np.zeros(len(truth), np.int64)
    order = np.argsort(classes, kind="stable")
    _, starts, counts = np.unique(classes[order], return_index=True, return_counts=True)
    rank = np.arange(len(order)) - np.repeat(starts, counts)
    apart = np.sort(order[rank % APART == APART - 1])
    return np.setdiff1d(np.arange(len(classes)), apart), apart


def _cooled(program: HeadProgram, heat: float) -> HeadProgram:
    """Logits over a temperature: in the last linear step, which ends every head."""
    *first, last = program.steps
    assert isinstance(last, Linear)
    factor = np.float32(1 / heat)
    return replace(program, steps=(*first, Linear(last.weight * factor, last.bias * factor)))
