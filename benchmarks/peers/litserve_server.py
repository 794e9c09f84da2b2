"""LitServe with one model per head, in torch or as ONNX graphs (the first argument says which).

One worker a core and ZeroMQ queues, as its reference advises for CPUs and for more than 100 requests a second. No
batches: on a CPU they buy nothing, and those of several heads would have to be taken apart again.
"""

import sys
from collections.abc import Callable
from typing import Any

import litserve as ls
import numpy as np
from fastapi import Request

from benchmarks.peers.photo import CORES, PORT, Photos, names


class Api(ls.LitAPI):
    """Decodes, asks the head, answers."""

    def __init__(self, engine: str) -> None:
        super().__init__()
        self._engine = engine

    def setup(self, device: str) -> None:
        """Load every model, in each worker."""
        self._photos = Photos()
        model: Callable[[str], Any]
        if self._engine == "onnx":
            from benchmarks.peers.onnx_models import OnnxModel

            model, self._ready = OnnxModel, np.ascontiguousarray
        else:
            import torch

            from benchmarks.peers.torch_models import TorchModel

            torch.set_num_threads(1)
            model, self._ready = TorchModel, torch.from_numpy
        self._models = {name: model(name) for name in names()}

    def decode_request(self, request: Request) -> tuple[str, Any]:
        """A form with `head` and `image` → (head, uint8 [S, S, 3]). The annotation makes LitServe read a form."""
        return request["head"], self._photos.decode(request["image"].file.read())

    def predict(self, asked: tuple[str, Any]) -> list[float]:
        """Probabilities."""
        head, pixels = asked
        return self._models[head].predict(self._ready(pixels[None].copy()))[0]

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """As JSON."""
        return {"probabilities": output}


if __name__ == "__main__":
    server = ls.LitServer(Api(sys.argv[1]), accelerator="cpu", workers_per_device=CORES, fast_queue=True)
    server.run(host="127.0.0.1", port=PORT, generate_client_file=False, log_level="warning")
