"""Plain FastAPI and ONNX Runtime: one worker a core, one graph per head.

With PEER_SHARED=1 the heads share one backbone session, as somebody would write who knows that they can.
"""

import os
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool

from benchmarks.peers.onnx_models import OnnxModel, SharedModel, session
from benchmarks.peers.photo import Photos, names

app = FastAPI()
photos = Photos()


def load() -> dict[str, Any]:
    """Every head's model."""
    if os.environ.get("PEER_SHARED") == "1":
        backbone = session("backbone.onnx")
        return {name: SharedModel(name, backbone) for name in names()}
    return {name: OnnxModel(name) for name in names()}


models = load()


@app.post("/{head}")
async def predict(head: str, request: Request) -> dict[str, list[float]]:
    """Raw bytes in, probabilities out."""
    return {"probabilities": await run_in_threadpool(answer, head, await request.body())}


def answer(head: str, data: bytes) -> list[float]:
    """Decode and ask, in a thread."""
    return models[head].predict(photos.decode(data)[None])[0]
