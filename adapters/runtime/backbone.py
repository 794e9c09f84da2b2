"""A backbone that answers: uint8 pixels in, embeddings out."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from adapters.runtime import session
from adapters.types import Backbone, Device, Embeddings, Floats, Pixels

# A GPU run costs about the same for 1 as for 8 images, and cuDNN tunes anew for every batch size it meets:
# pad to a few sizes.
GPU_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class BackboneSession:
    """One loaded backbone, shared by all threads."""

    def __init__(self, backbone: Backbone, graph: bytes | str, device: Device = "cpu") -> None:
        self.backbone = backbone
        self.device = session.resolve_device(device)
        self._session: Any = session.create(graph, self.device)
        self._wide: Any = self._session

    def widen(self, graph: bytes | str, threads: int) -> None:
        """Give an image that is alone so many cores: on 2, 12 ms instead of 17, for 16 MiB (`benchmarks threads`).

        To be called from a thread of its own: it takes as long as loading did, and nobody need wait for it.
        """
        if self.device == "cpu" and threads > 1:
            wide = session.create(graph, self.device, threads=threads)
            wide.run(["pooled"], {"pixels": self._blank(1)})
            self._wide = wide

    @property
    def max_batch(self) -> int:
        """Images a pass: batching buys nothing on a CPU and everything on a GPU."""
        return 1 if self.device == "cpu" else GPU_BATCHES[-1]

    def embed(self, pixels: Pixels, alone: bool = False) -> Embeddings:
        """uint8 [N, S, S, 3] → f32 [N, D]; `alone`: no other image wants the cores. It changes no bit of the answer."""
        count = len(pixels)
        chosen = self._wide if alone else self._session
        outputs: list[Any] = chosen.run(["pooled"], {"pixels": self._padded(pixels)})
        return outputs[0][:count]

    def features(self, pixels: Pixels) -> tuple[Embeddings, Floats]:
        """uint8 [N, S, S, 3] → pooled f32 [N, D], features f32 [N, C, h, w]."""
        pooled, features = self._session.run(["pooled", "features"], {"pixels": pixels})
        return pooled, features

    def warm(self) -> None:
        """Run each batch size once, so that the first request does not pay for allocation and tuning."""
        for count in (1,) if self.device == "cpu" else GPU_BATCHES:
            self.embed(self._blank(count))

    def _blank(self, count: int) -> Pixels:
        side = self.backbone.preprocessing.size
        return np.zeros((count, side, side, 3), np.uint8)

    def _padded(self, pixels: Pixels) -> Pixels:
        if self.device == "cpu":
            return pixels
        size = next((s for s in GPU_BATCHES if s >= len(pixels)), len(pixels))
        return np.concatenate([pixels, np.zeros((size - len(pixels), *pixels.shape[1:]), np.uint8)])


class Backbones:
    """Backbones by digest, loaded when first needed and kept. An image that is alone gets `threads`, a moment later."""

    def __init__(
        self, load: Callable[[str], tuple[Backbone, bytes | str]], device: Device = "cpu", threads: int = 1
    ) -> None:
        self._load, self._device, self._threads = load, device, threads
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
                loaded = BackboneSession(backbone, graph, self._device)
                loaded.warm()
                self._sessions[digest] = loaded
                threading.Thread(target=loaded.widen, args=(graph, self._threads), name="widen", daemon=True).start()
            return self._sessions[digest]

    def loaded(self) -> list[str]:
        """Digests in memory."""
        return sorted(self._sessions)
