"""The textbook BentoML service: one torch model per head, each behind an adaptive batch of its own.

`batchable=True` takes one argument, so a head cannot be a parameter of a batch: each has its own route. One worker a
core, as BentoML's page on workers advises for CPUs; one thread each, or they fight for the cores.
"""

from typing import Any

import bentoml
import numpy as np
import torch
from PIL.Image import Image

from benchmarks.peers.photo import Photos, names
from benchmarks.peers.torch_models import TorchModel


class Models:
    """Everything loaded."""

    def __init__(self) -> None:
        torch.set_num_threads(1)
        self.photos, self.models = Photos(), {name: TorchModel(name) for name in names()}


def endpoint(name: str) -> Any:
    """The route of one head."""

    def predict(self: Models, images: list[Image]) -> list[list[float]]:
        pixels = np.stack([self.photos.pixels(image) for image in images])
        return self.models[name].predict(torch.from_numpy(pixels))

    predict.__name__ = name.replace("-", "_")
    return bentoml.api(predict, route=f"/{name}", batchable=True, max_batch_size=16)


Service = bentoml.service(
    type("Service", (Models,), {name.replace("-", "_"): endpoint(name) for name in names()}),
    workers="cpu_count",
    logging={"access": {"enabled": False}},
)
