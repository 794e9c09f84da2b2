"""What all steps share: how much is measured, a home with the backbone in fp32 and fp16, and loaded sessions."""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.engine import Engine

from adapters.modalities.image import Pixels, calibration
from adapters.runtime.backbone import GPU_BATCHES, BackboneSession
from adapters.runtime.onnx import processor
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import variant
from adapters.types import Backbone, Device
from benchmarks import record
from service.loading import GPU_LANES
from service.processes import setup
from service.settings import Settings

PRECISIONS = ("fp32", "fp16")


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    repetitions: int
    seconds: float  # of a turn
    batches: tuple[int, ...]
    connections: tuple[int, ...]
    photos: int  # that the embedding rate is of
    examples: int  # of the race
    classes: int
    compiled: tuple[int, ...]  # batch sizes of torch.compile, which takes a minute for each
    images: int  # that precisions are compared on


FULL = Plan(5, 0.5, GPU_BATCHES, (16, 64, 256), 4000, 10_000, 100, (1, 64), 200)
QUICK = Plan(1, 0.05, (1, 2), (2,), 16, 120, 5, (), 20)


@dataclass(slots=True)
class Scene:
    """A prepared home, and what was opened from it."""

    device: Device
    plan: Plan
    home: Path
    engine: Engine
    artifacts: Artifacts
    backbones: dict[str, Backbone]  # by precision
    _sessions: dict[tuple[str, Device], BackboneSession] = field(default_factory=dict)

    def session(self, precision: str, device: Device | None = None) -> BackboneSession:
        """A loaded and warm session; each is loaded once."""
        key = (precision, device or self.device)
        if key not in self._sessions:
            self._sessions[key] = self.fresh(*key)
        return self._sessions[key]

    def fresh(self, precision: str, device: Device) -> BackboneSession:
        """One more of them, warm."""
        backbone = self.backbones[precision]
        loaded = BackboneSession(backbone, self.artifacts.get(backbone.artifact), device, self.home / "engines")
        loaded.warm()
        return loaded

    @property
    def lanes(self) -> int:
        """Threads that decode, as the service has them."""
        return processor.cores() if self.device == "cpu" else GPU_LANES

    def pixels(self, count: int) -> Pixels:
        """Noise, uint8 [count, S, S, 3]."""
        side = self.backbones["fp32"].spec.size
        return np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)

    def rate(self, action: Callable[[], Any], images: int) -> dict[str, float]:
        """Images a second of an action that takes so many and returns when they are done."""
        action()  # warm
        return record.spread([images * _a_second(action, self.plan.seconds) for _ in range(self.plan.repetitions)])


def _a_second(action: Callable[[], Any], seconds: float) -> float:
    """How often an action is done a second."""
    began, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - began) < seconds or not count:
        action()
        count += 1
    return count / elapsed if elapsed else count / (time.perf_counter() - began)


@contextlib.contextmanager
def prepared(device: Device, plan: Plan) -> Iterator[Scene]:
    """A temporary home after `espalier init`, with the default backbone in fp16 as well."""
    with tempfile.TemporaryDirectory(prefix="espalier-bench-") as folder:
        settings = Settings(home=Path(folder), precision="fp32")
        engine, artifacts = database.connect(settings.database), Artifacts(settings.artifacts)
        setup.prepare(settings, engine, artifacts)
        full = backbones.find(engine, settings.default_backbone)
        few = replace(crops := calibration.crops(full.spec), held_out=crops.held_out[: plan.images])
        half = variant.build(full, "fp16", few, engine, artifacts)
        yield Scene(device, plan, Path(folder), engine, artifacts, {"fp32": full, "fp16": half})
        engine.dispose()
