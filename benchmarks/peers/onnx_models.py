"""One ONNX graph per head, the whole network in it; or, written by hand, heads that share a backbone session."""

from typing import Any

import onnxruntime as ort

from benchmarks.peers.photo import FOLDER


class OnnxModel:
    """A whole network with one head."""

    def __init__(self, head: str) -> None:
        self._session = session(f"{head}.onnx")

    def predict(self, pixels: Any) -> list[list[float]]:
        """uint8 [N, S, S, 3] → N × K probabilities."""
        return self._session.run(None, {"pixels": pixels})[0].tolist()


class SharedModel:
    """A head on a backbone session that all heads share."""

    def __init__(self, head: str, backbone: Any) -> None:
        self._backbone, self._head = backbone, session(f"{head}.head.onnx")

    def predict(self, pixels: Any) -> list[list[float]]:
        """uint8 [N, S, S, 3] → N × K probabilities."""
        (pooled,) = self._backbone.run(["pooled"], {"pixels": pixels})
        return self._head.run(["probabilities"], {"embedding": pooled})[0].tolist()


def session(name: str) -> Any:
    """One thread a run, as ONNX Runtime's threading page advises where requests run side by side."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(FOLDER / name, options, providers=["CPUExecutionProvider"])
