"""A downloaded head.onnx, run by onnxruntime alone, as somebody without Espalier would."""

from typing import Any

import numpy as np
import onnxruntime

from support.services import Service


def embedded(server: Service, inputs: list[bytes], field: str = "images") -> np.ndarray:
    """What the default backbone for such a field makes of inputs, earlier blocks included, f32 [N, E]."""
    files = [(field, ("input", one)) for one in inputs]
    answer = server.http.post("/embed", data={"taps": "true"}, files=files).raise_for_status()
    return np.asarray(answer.json()["embeddings"], np.float32)


def opened(graph: bytes) -> Any:
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def asked(graph: bytes, embeddings: np.ndarray, output: str = "probabilities") -> np.ndarray:
    """An output for embeddings, of which a head reads the first numbers or all."""
    session = opened(graph)
    reads = session.get_inputs()[0].shape[1]
    return session.run([output], {"embedding": np.ascontiguousarray(embeddings[:, :reads])})[0]
