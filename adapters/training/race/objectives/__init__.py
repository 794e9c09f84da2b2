"""Objectives: what fits make small, and how their raw outputs become calibrated ones. One file each.

A task names its objective, a method says which ones it can fit.
"""

import functools
import importlib
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from adapters.types import Fitted, Floats, Indices, Objective, Step


@dataclass(frozen=True, slots=True)
class Calibration:
    """Steps from raw outputs to calibrated ones, and what of them is worth telling."""

    steps: tuple[Step, ...] = ()
    facts: dict[str, Any] = field(default_factory=dict)  # ready for JSON


class Functions(Protocol):
    """What every file of this folder offers. N examples, K outputs; raw outputs f32 [N, K] are a method's.

    Targets are those that a task says are fitted: class numbers i64 [N], or f32 [N, K].
    """

    def scaled(self, targets: Fitted, rest: Indices) -> tuple[Fitted, tuple[Step, ...]]:
        """Targets as they are fitted, and the steps that bring outputs back; `rest` are those trained on."""

    def counts(self, targets: Fitted, outputs: int) -> Indices:
        """How many examples each output can be learned from, i64 [K]."""

    def calibrate(self, raw: Floats, targets: Fitted) -> Calibration:
        """Fitted to raw outputs of examples that the fits had not seen."""

    def losses(self, calibrated: Floats, targets: Fitted) -> Floats:
        """What the race compares, f32 [N]; smaller is better."""

    def score(self, calibrated: Floats, targets: Fitted) -> dict[str, float]:
        """A figure that people know, for the race's table."""


@functools.cache
def get(name: Objective) -> Functions:
    """The objective of that name."""
    return cast(Functions, importlib.import_module(f"{__name__}.{name}"))
