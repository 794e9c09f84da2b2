"""Pools that the exporter does not know are written out: the same numbers, and no weight among them."""

import numpy as np
import pytest
import torch

from adapters.backbones import exporter, pools
from adapters.errors import InvalidInput
from adapters.modalities.image import Preprocessing
from adapters.runtime.onnx import session
from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images
from adapters.training.deep.interpreter import Tail

# torch says this of the exporter that we use.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


class Pooled(torch.nn.Module):
    """Two layers around a pool to 7 × 7 cells, as VGG ends; or something that no exporter knows."""

    def __init__(self, odd: bool = False) -> None:
        super().__init__()
        self.first, self.second, self.odd = torch.nn.Conv2d(3, 8, 3, 4), torch.nn.Conv2d(8, 16, 7), odd

    def forward_features(self, x: torch.Tensor) -> torch.Tensor:
        made = self.first(x).relu()
        return torch.special.i0e(made) if self.odd else made

    def forward_head(self, x: torch.Tensor, pre_logits: bool) -> torch.Tensor:
        return self.second(torch.nn.functional.adaptive_avg_pool2d(x, (7, 7))).relu().flatten(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(x), True)


def shape(side: int) -> Preprocessing:
    return Preprocessing(side, 0.9, "bicubic", (0.5,) * 3, (0.5,) * 3)


@pytest.mark.parametrize("cells", [1, 5, (7, 7), (3, 11), (2, 4)])
def test_means_are_those_of_torch(cells):
    """Of maps that are smaller and larger than there are cells, and that are no squares."""
    x = torch.rand(2, 3, 10, 6, generator=torch.Generator().manual_seed(0))
    wanted = torch.nn.functional.adaptive_avg_pool2d(x, cells)
    with pools.written_out():
        found = torch.nn.functional.adaptive_avg_pool2d(x, output_size=cells)
    assert torch.allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("side", [16, 32, 40])
def test_a_network_that_pools_so_is_exported_for_any_size_and_trained(side):
    """As torch answers; what is trained are the layers."""
    torch.manual_seed(0)
    model = Pooled().eval()
    graph = exporter.export(model, shape(side))
    pixels = np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8)
    wanted, _ = exporter.reference(model, shape(side), pixels)
    np.testing.assert_allclose(session.create(graph).run(["pooled"], {"pixels": pixels})[0], wanted, atol=1e-5)
    whole = cuts.find(graph, images(side))[0]
    tail = Tail(cuts.floated(cuts.tail(graph, whole)))
    assert sum(weight.numel() for weight in tail.weights) == sum(each.numel() for each in model.parameters())


def test_what_torch_cannot_export_is_refused_in_a_sentence():
    with pytest.raises(InvalidInput, match=r"torch cannot export this model for images of 32 pixels: .*i0e"):
        exporter.export(Pooled(odd=True).eval(), shape(32))
