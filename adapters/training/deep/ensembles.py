"""The shallow winner's say in a deep version: its logits and those of the trained tail, weighted and added up.

A tail tells `pooled` alone, and its head begins there; the race's winner often reads what earlier blocks saw as well. A
head that is trained on both learns next to nothing beside what it knows already (docs/adr/0030), but the two err on
different examples, so that their sum answers better than either (Hansen & Salamon 1990; docs/adr/0033).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adapters.recipe import AUTO, Hyperparameters
from adapters.training.deep.records import Option
from adapters.training.race.race import RaceResult
from adapters.types import Embeddings, Ensemble, Floats, HeadProgram, Indices, Member

WEIGHTS = (0.0, 0.25, 0.5, 0.75)  # of the shallow head that `auto` compares


@dataclass(frozen=True, slots=True)
class Joined:
    """What an ensemble reads of N examples: columns of several arrays, side by side where they are asked for."""

    parts: tuple[Embeddings, ...]

    def __getitem__(self, rows: Indices) -> Embeddings:
        return np.concatenate([part[rows] for part in self.parts], axis=1)


def weights(recipe: Hyperparameters, option: Option) -> Sequence[float]:
    """Of the shallow head that an option is compared with; where nothing was trained there is nothing to add to."""
    if recipe.ensemble != AUTO:
        return (float(recipe.ensemble),)
    return WEIGHTS if option[1] else (0.0,)


def said(shallow: RaceResult, index: Indices) -> Floats | None:
    """Calibrated raw outputs of the winner for examples that its fits had not seen, f32 [M, K]; None of others."""
    places = {int(position): row for row, position in enumerate(shallow.index)}
    rows = [places.get(int(position)) for position in index]
    return None if None in rows or not len(shallow.said) else shallow.said[np.array(rows, np.int64)]


def mixed(deep: Floats, shallow: Floats, weight: float) -> Floats:
    """Raw outputs f32 [M, K] of both."""
    found: Floats = np.float32(1 - weight) * deep + np.float32(weight) * shallow
    return found


def program(
    deep: HeadProgram, dimension: int, shallow: RaceResult, finish: int, weight: float, scale: float
) -> HeadProgram:
    """[N, D + R] → raw outputs: D columns are the tail's `pooled`, and R what the winner reads.

    `finish`: how many steps at the end of the winner's program are not of raw outputs. `scale`: of the deep ones, which
    may spread more or less than those of the fits to folds that the weight is from.
    """
    theirs = shallow.program.steps[: len(shallow.program.steps) - finish]
    members = Member(deep.steps, dimension, (1 - weight) * scale), Member(theirs, shallow.reads, weight)
    return HeadProgram((Ensemble(members),))
