"""A backbone that answers: uint8 pixels in, embeddings out."""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from adapters.errors import DeviceError
from adapters.runtime.batcher import IN_FLIGHT
from adapters.runtime.binding import BoundPasses
from adapters.runtime.onnx import devices, session
from adapters.runtime.onnx.mapped import ChangeDetector
from adapters.types import Backbone, Device, Embeddings, Floats, Pixels

log = logging.getLogger("espalier.device")
# A GPU run costs about the same for 1 as for 8 images, and cuDNN tunes anew for every batch size it meets:
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
        """Give an image that is alone so many cores: on 2, 12 ms instead of 17, for 16 MiB (`benchmarks threads`).

        To be called from a thread of its own: it takes as long as loading did, and nobody need wait for it.
        """
        if self.device == "cpu" and threads > 1:
            wide = session.create(graph, self.device, threads=threads)
            wide.run([self.backbone.output], {"pixels": self._blank(1)})
            self._wide = wide

    @property
    def max_batch(self) -> int:
        """Images a pass: batching buys nothing on a CPU and everything on a GPU."""
        return 1 if self.device == "cpu" else GPU_BATCHES[-1]

    def embed(self, pixels: Pixels | Sequence[Pixels], alone: bool = False) -> Embeddings:
        """uint8 [N, S, S, 3], or N of [S, S, 3] → f32 [N, E]. On a GPU they are padded to one of a few batch sizes.

        `alone`: no other image wants the cores. It changes no bit of the answer.
        """
        if self.device == "cpu":
            return self.plain(_batch(pixels), alone)
        return self.bound.embed(pixels)

    def plain(self, pixels: Pixels, alone: bool = False) -> Embeddings:
        """The same without padding and without buffers of ours: what a CPU does."""
        chosen = self._wide if alone else self._session
        outputs: list[Any] = chosen.run([self.backbone.output], {"pixels": pixels})
        if self._changes.has_changed():  # the weights may have been others while we ran
            self._reload(self._changes)
            return self.plain(pixels)
        return outputs[0]

    def features(self, pixels: Pixels) -> tuple[Embeddings, Floats]:
        """uint8 [N, S, S, 3] → pooled f32 [N, D], features f32 [N, C, h, w]."""
        pooled, features = self._session.run(["pooled", "features"], {"pixels": pixels})
        return pooled, features

    def warm(self) -> None:
        """Run each batch size once, so that the first request does not pay for allocation and tuning."""
        for count in (1,) if self.device == "cpu" else GPU_BATCHES:
            self.embed(self._blank(count))

    def _reload(self, seen: ChangeDetector) -> None:
        with self._lock:
            if self._changes is seen:  # of all that were under way the first does it
                log.warning("the mapped files of the backbone %s were written to; loading it again", self.backbone.name)
                graph = self._again()
                changes = ChangeDetector(graph)
                self._session = self._wide = session.create(graph, self.device)
                self._changes = changes

    def _blank(self, count: int) -> Pixels:
        side = self.backbone.preprocessing.size
        return np.zeros((count, side, side, 3), np.uint8)


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
    """Backbones by digest, loaded when first needed and kept. An image that is alone gets `threads`, a moment later."""

    def __init__(
        self,
        load: Callable[[str], tuple[Backbone, bytes | str]],
        device: Device = "cpu",
        threads: int = 1,
        engines: Path | None = None,
    ) -> None:
        self._load, self._device, self._threads, self._engines = load, device, threads, engines
        self._sessions: dict[str, BackboneSession] = {}
        self._lock = threading.Lock()

    def get(self, digest: str) -> BackboneSession:
        """The session of a digest. Raises BackboneNotFound, CorruptArtifact, DeviceError."""
        found = self._sessions.get(digest)
        if found is not None:
            return found
        with self._lock:  # one loader at a time: a graph of 100 MB is not loaded twice
            if digest not in self._sessions:
                backbone, graph = self._load(digest)
                again = partial(self._graph, digest)
                loaded = BackboneSession(backbone, graph, self._device, self._engines, again)
                loaded.warm()
                self._sessions[digest] = loaded
                threading.Thread(target=loaded.widen, args=(graph, self._threads), name="widen", daemon=True).start()
            return self._sessions[digest]

    def _graph(self, digest: str) -> bytes | str:
        return self._load(digest)[1]

    def loaded(self) -> list[str]:
        """Digests in memory."""
        return sorted(self._sessions)


def _batch(pixels: Pixels | Sequence[Pixels]) -> Pixels:
    """uint8 [N, S, S, 3], without a copy where there is one image, as most requests have."""
    if isinstance(pixels, np.ndarray):
        return pixels
    return pixels[0][np.newaxis] if len(pixels) == 1 else np.stack(pixels)
