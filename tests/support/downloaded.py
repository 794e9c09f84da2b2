"""A downloaded head.onnx, run by onnxruntime alone, as somebody without Espalier would."""

from typing import Any

import numpy as np
import onnxruntime

from support.services import Service


def embedded(server: Service, images: list[bytes]) -> np.ndarray:
    """What the default backbone makes of images, earlier blocks included, f32 [N, E]."""
    return np.asarray(server.client.embed(images, taps=True)["embeddings"], np.float32)


def opened(graph: bytes) -> Any:
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def asked(graph: bytes, embeddings: np.ndarray, output: str = "probabilities") -> np.ndarray:
    """An output for embeddings, of which a head reads the first numbers or all."""
    session = opened(graph)
    reads = session.get_inputs()[0].shape[1]
    return session.run([output], {"embedding": np.ascontiguousarray(embeddings[:, :reads])})[0]
