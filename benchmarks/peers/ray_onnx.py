"""Ray Serve with model multiplexing: a model is a head's whole ONNX graph, loaded when it is first asked for.

One replica a core, room for every model in each, and the switches of its performance page: throughput mode, no access
log, work off the event loop. Not its HAProxy: that listens on all interfaces, and one machine has nothing to balance.
"""

import asyncio
import time
from typing import Any

import ray
from ray import serve
from starlette.requests import Request
from starlette.responses import JSONResponse

from benchmarks.peers.onnx_models import OnnxModel
from benchmarks.peers.photo import CORES, FOLDER, HEADS, PORT, Photos


@serve.deployment(num_replicas=CORES, max_ongoing_requests=16, ray_actor_options={"num_cpus": 1})
class Classifier:
    """One replica."""

    def __init__(self) -> None:
        self._photos = Photos()

    @serve.multiplexed(max_num_models_per_replica=HEADS)
    async def load(self, head: str) -> OnnxModel:
        """The model of a head."""
        return await asyncio.to_thread(OnnxModel, head)

    async def __call__(self, request: Request) -> JSONResponse:
        """Raw bytes in; the head is in the header that routes to a replica which has it."""
        model = await self.load(serve.get_multiplexed_model_id())
        return JSONResponse({"probabilities": await asyncio.to_thread(self._answer, model, await request.body())})

    def _answer(self, model: Any, data: bytes) -> list[float]:
        return model.predict(self._photos.decode(data)[None])[0]


if __name__ == "__main__":
    # More CPUs than there are: the proxy and the controller want some, too, and what is reserved is not pinned.
    # Its files go away with the heads' then; a socket's path may have 107 characters, hence the short name.
    where = {"_node_ip_address": "127.0.0.1", "_temp_dir": str(FOLDER.parent / "r")}
    ray.init(num_cpus=CORES + 2, include_dashboard=False, log_to_driver=False, **where)
    serve.start(http_options={"host": "127.0.0.1", "port": PORT})
    deployment: Any = Classifier  # the decorator has made one of the class
    serve.run(deployment.bind(), logging_config={"enable_access_log": False, "log_level": "WARNING"})
    while True:
        time.sleep(60)
