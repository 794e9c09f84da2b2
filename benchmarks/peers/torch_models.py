"""One timm model per head, in torch."""

import timm
import torch
from safetensors.torch import load_file

from benchmarks.peers.photo import FOLDER, facts


class TorchModel:
    """A whole network with one head's classifier."""

    def __init__(self, head: str) -> None:
        shape = facts()
        self._model = timm.create_model(shape["timm_name"], num_classes=len(shape["classes"]))
        self._model.load_state_dict(
            load_file(FOLDER / "backbone.safetensors") | load_file(FOLDER / f"{head}.safetensors")
        )
        # channels_last is what PyTorch's tuning guide advises for convolutions on CPUs.
        self._model.eval().to(memory_format=torch.channels_last)
        self._mean, self._std = (torch.tensor(shape[k]).view(1, 3, 1, 1) * 255 for k in ("mean", "std"))

    @torch.inference_mode()
    def predict(self, pixels: torch.Tensor) -> list[list[float]]:
        """uint8 [N, S, S, 3] → N × K probabilities."""
        batch = (pixels.permute(0, 3, 1, 2).float() - self._mean) / self._std
        return self._model(batch.contiguous(memory_format=torch.channels_last)).softmax(1).tolist()
