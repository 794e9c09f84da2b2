"""Named arrays with N first: what a head answers of N inputs, and what a task makes of N labels. numpy only.

A task knows the names (`adapters/tasks`); everybody else takes, joins and stores them without looking inside. A row is
what they have of one example: the same names, without the first dimension.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from adapters.types import Arrays, Floats, Schema

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]  # by name, of one example


def count(arrays: Arrays) -> int:
    """N."""
    return len(next(iter(arrays.values())))


def take(arrays: Arrays, rows: Any) -> Arrays:
    """Some of the examples: positions i64 [M], a mask [N] or a slice."""
    return {name: array[rows] for name, array in arrays.items()}


def row(arrays: Arrays, position: int) -> Arrays:
    """One of the examples; views, no copies."""
    return {name: array[position] for name, array in arrays.items()}


def each(arrays: Arrays) -> Iterator[Arrays]:
    """The examples one by one."""
    return (row(arrays, position) for position in range(count(arrays)))


def joined(parts: Sequence[Arrays]) -> Arrays:
    """One or more, one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def empty(shapes: Shapes) -> Arrays:
    """Those of no example."""
    return {name: np.zeros((0, *shape), np.float32) for name, shape in shapes.items()}


def stacked(rows: Sequence[Arrays], shapes: Shapes) -> Arrays:
    """Rows one after the other, or those of no example: the arrays of these shapes, without others that rows have."""
    return {name: np.stack([one[name] for one in rows]) for name in shapes} if rows else empty(shapes)


def of_classes(arrays: Arrays, name: str, schema: Schema, shared: Sequence[str]) -> tuple[Arrays, Schema]:
    """Of an array with a column for each class, f32 [N, K], the columns of `shared`, and how these are read."""
    columns = [schema.classes.index(one) for one in shared]
    return {name: arrays[name][:, columns]}, Schema(tuple(shared), schema.decision)


def numbers(shapes: Shapes) -> int:
    """S, how many numbers one example has."""
    return sum(math.prod(shape) for shape in shapes.values())


def flat(arrays: Arrays, shapes: Shapes) -> Floats:
    """As they are stored: the numbers of each example side by side, array after array, f32 [N, S]."""
    found: Floats = np.concatenate([arrays[name].reshape(len(arrays[name]), -1) for name in shapes], axis=1)
    return found.astype("<f4")


def unflat(table: Floats, shapes: Shapes) -> Arrays:
    """The inverse; views."""
    ends = np.cumsum([math.prod(shape) for shape in shapes.values()])[:-1]
    parts = np.split(table, ends, axis=1)
    return {name: part.reshape(len(table), *shape) for part, (name, shape) in zip(parts, shapes.items(), strict=True)}
