"""A backbone that answers: tensors of inputs in, embeddings out; of its trunk to a cut, taps."""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from adapters import modalities, padding
from adapters.backbones.cuts import Part
from adapters.errors import DeviceError
from adapters.runtime.batcher import IN_FLIGHT
from adapters.runtime.binding import BoundPasses
from adapters.runtime.onnx import devices, processor, session
from adapters.runtime.onnx.mapped import ChangeDetector
from adapters.types import Backbone, Device, Embeddings, Floats, Rows, Tensors

log = logging.getLogger("espalier.device")
# A GPU run costs about the same for 1 as for 8 inputs, and cuDNN tunes anew for every batch size it meets:
# pad to a few sizes.
GPU_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class BackboneSession:
    """One loaded backbone, shared by all threads. `engines`: the folder where TensorRT keeps what it has built.

    `again` gives the graph anew, checked, where somebody has written to the files that it is mapped from.
    """

    def __init__(
        self,
        backbone: Backbone,
        graph: bytes | str,
        device: Device = "cpu",
        engines: Path | None = None,
        again: Callable[[], bytes | str] | None = None,
    ) -> None:
        self.backbone = backbone
        self._asked = [output.name for output in backbone.outputs]
        self._modality = modalities.of(backbone)
        self._varies = any(None in each.shape for each in self._modality.inputs(backbone.spec))
        self._changes = ChangeDetector(graph)
        self.device, self._session = _open(backbone, graph, device, engines)
        self._wide: Any = self._session
        self._again = again or (lambda: graph)
        self._lock = threading.Lock()

    @cached_property
    def bound(self) -> BoundPasses:
        """Passes with buffers that are there already, as a GPU runs them; on a CPU to be compared with `plain`."""
        return BoundPasses(self._session, self.backbone, self.device, GPU_BATCHES, IN_FLIGHT)

    def widen(self, graph: bytes | str, threads: int) -> None:
        """Give an input that is alone so many cores: on 2, 12 ms instead of 17, for 16 MiB (`benchmarks threads`).

        To be called from a thread of its own: it takes as long as loading did, and nobody need wait for it.
        """
        if self.device == "cpu" and threads > 1:
            processor.bind(processor.affinity())  # a lane may have asked, and is bound to one
            wide = session.create(graph, self.device, threads=threads)
            wide.run(self._asked, dict(self._trial(1)))
            self._wide = wide

    @property
    def max_batch(self) -> int:
        """Inputs a pass: batching buys nothing on a CPU and everything on a GPU."""
        return 1 if self.device == "cpu" else GPU_BATCHES[-1]

    def embed(self, inputs: Tensors | Sequence[Tensors], alone: bool = False) -> Rows:
        """N inputs, or their tensors with N first → f32 [N, E]. On a GPU they are padded to one of a few sizes.

        Of a trunk the tap of each, [N, *shape]; of a whole that tells a cut N pairs of both.
        `alone`: no other input wants the cores. It changes no bit of the answer.
        """
        if self.device == "cpu":
            return self.plain(self._batch(inputs), alone)
        if self._varies:
            return self._in_passes(inputs)
        return self.bound.embed(inputs)

    def plain(self, batch: Tensors, alone: bool = False) -> Rows:
        """Tensors with N first → what `embed` gives, without padding and without buffers of ours: what a CPU does."""
        chosen = self._wide if alone else self._session
        outputs: list[Any] = chosen.run(self._asked, batch)
        if self._changes.has_changed():  # the weights may have been others while we ran
            self._reload(self._changes)
            return self.plain(batch)
        return outputs[0] if len(outputs) == 1 else list(zip(*outputs, strict=True))

    def features(self, batch: Tensors) -> tuple[Embeddings, Floats]:
        """Tensors with N first → pooled f32 [N, D], features f32 [N, C, h, w], of a graph that tells them: in float."""
        pooled, features = self._session.run(["pooled", "features"], batch)
        return pooled, features

    def warm(self) -> None:
        """Run each batch size once, so that the first request does not pay for allocation and tuning."""
        for count in (1,) if self.device == "cpu" else GPU_BATCHES:
            self.embed(self._trial(count))

    def _reload(self, seen: ChangeDetector) -> None:
        with self._lock:
            if self._changes is seen:  # of all that were under way the first does it
                log.warning("the mapped files of the backbone %s were written to; loading it again", self.backbone.name)
                graph = self._again()
                changes = ChangeDetector(graph)
                self._session = self._wide = session.create(graph, self.device)
                self._changes = changes

    def _batch(self, inputs: Tensors | Sequence[Tensors], pad: bool = False) -> Tensors:
        """With N first; without a copy where there is one input, as most requests have."""
        return inputs if isinstance(inputs, Mapping) else self._modality.collate(inputs, self.backbone.spec, pad=pad)

    def _in_passes(self, inputs: Tensors | Sequence[Tensors]) -> Rows:
        """On a GPU, of inputs of many lengths: padded to one of a few, a pass of no more than fit one."""
        if isinstance(inputs, Mapping):
            return self.plain(inputs)
        parts = [inputs[start : start + self.max_batch] for start in range(0, len(inputs), self.max_batch)]
        told = [self.plain(self._batch(part, pad=True)) for part in parts]
        return [row for part in told for row in part] if isinstance(told[0], list) else padding.joined(told)

    def _trial(self, count: int) -> Tensors:
        """So many of one made-up input."""
        one = self._modality.trial(self.backbone.spec, 1)[0]
        return {name: np.repeat(tensor[np.newaxis], count, axis=0) for name, tensor in one.items()}


def _open(backbone: Backbone, graph: bytes | str, device: Device, folder: Path | None) -> tuple[Device, Any]:
    """The device that a backbone really gets, and its session.

    `auto` never runs one half and half: with int8 on CUDA that took 232 ms instead of 12 (onnxruntime #10267). What a
    GPU does not run whole gets the CPU. Who names a device is told instead. Raises DeviceError.
    """
    chosen = devices.resolve(device)
    if chosen == "cpu":
        return chosen, session.create(graph)
    engines = devices.engine_options(backbone, GPU_BATCHES[-1], folder) if chosen == "tensorrt" else None
    try:
        return chosen, session.create(graph, chosen, engines=engines)
    except DeviceError as error:
        if device != "auto":
            raise
        log.warning("the backbone %s runs on the CPU: %s", backbone.name, error.message)
        return "cpu", session.create(graph)


class Backbones:
    """Backbones by digest, loaded when first needed and kept. An input that is alone gets `threads`, a moment later.

    Parts of them, which deep versions read, are backbones of their own.
    """

    def __init__(
        self,
        load: Callable[[Any], tuple[Backbone, bytes | str]],  # of a digest, or of a part
        device: Device = "cpu",
        threads: int = 1,
        engines: Path | None = None,
    ) -> None:
        self._load, self._device, self._threads, self._engines = load, device, threads, engines
        self._sessions: dict[str, BackboneSession] = {}
        self._lock = threading.Lock()

    def get(self, source: str | Part) -> BackboneSession:
        """The session of a digest or a part. Raises BackboneNotFound, CorruptArtifact, DeviceError."""
        digest = source if isinstance(source, str) else source.digest
        found = self._sessions.get(digest)
        if found is not None:
            return found
        with self._lock:  # one loader at a time: a graph of 100 MB is not loaded twice
            if digest not in self._sessions:
                backbone, graph = self._load(source)
                again = partial(self._graph, source)
                loaded = BackboneSession(backbone, graph, self._device, self._engines, again)
                loaded.warm()
                self._sessions[digest] = loaded
                threading.Thread(target=loaded.widen, args=(graph, self._threads), name="widen", daemon=True).start()
            return self._sessions[digest]

    def _graph(self, source: str | Part) -> bytes | str:
        return self._load(source)[1]

    def loaded(self) -> list[str]:
        """Digests in memory."""
        return sorted(self._sessions)
