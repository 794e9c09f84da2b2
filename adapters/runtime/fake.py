"""A backbone that needs no graph: for tests, and for trying what happens around one."""

import threading
from collections.abc import Sequence

import numpy as np

from adapters.modalities.image import Preprocessing
from adapters.types import Backbone, Embeddings, Tensors

SIDE = 8  # pixels
DIMENSION = 4
FAKE = Backbone(
    name="fake", digest="fake", artifact="", precision="fp32", dimension=DIMENSION, channels=DIMENSION,
    spec=Preprocessing(SIDE, 1.0, "nearest", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
)  # fmt: skip


class FakeBackbone:
    """Embeds an image as the mean of its colours and 1. It notes its passes, and can be held and made to fail."""

    def __init__(self, max_batch: int = 1) -> None:
        self.backbone, self.max_batch = FAKE, max_batch
        self.alone: list[bool] = []  # what it was told of each pass
        self.passes: list[list[int]] = []  # the mean red of each image, by pass
        self.fail_on: set[int] = set()  # means of red that break a pass
        self._open, self._entered = threading.Event(), threading.Semaphore(0)
        self._open.set()

    def hold(self) -> None:
        """Passes stop where they begin, until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Let passes go on."""
        self._open.set()

    def wait_for_pass(self) -> None:
        """Until one more pass has begun."""
        self._entered.acquire()

    def embed(self, inputs: Sequence[Tensors], alone: bool = False) -> Embeddings:
        """N of uint8 [S, S, 3] → f32 [N, 4]. Raises ValueError for what it was told to fail on."""
        pixels = np.stack([one["pixels"] for one in inputs])
        means = pixels.reshape(len(pixels), -1, 3).mean(axis=1, dtype=np.float32)  # [N, 3]
        values = [round(float(red)) for red in means[:, 0]]
        self.passes.append(values)
        self.alone.append(alone)
        self._entered.release()
        self._open.wait()
        if self.fail_on & set(values):
            raise ValueError("the device is unwell")
        return np.concatenate([means, np.ones((len(pixels), 1), np.float32)], axis=1)
