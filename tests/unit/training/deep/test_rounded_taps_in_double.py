"""A tail that begins with rounded numbers is computed in double precision from there on, to judge float32 by."""

import numpy as np
import torch
from support import teachable

from adapters.training.backbone import cuts
from adapters.training.backbone.observing import images
from adapters.training.deep import interpreter


def test_pixels_go_through_the_whole_network_in_either_precision():
    graph = teachable.graph()
    whole = cuts.tail(graph, cuts.named(cuts.find(graph, images(teachable.SIDE)), "all"))
    shape = (5, teachable.SIDE, teachable.SIDE, 3)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    single, double = (interpreter.run(whole, pixels, dtype) for dtype in (torch.float32, torch.float64))
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-6)
    assert (single != double).any(), "nothing was computed in double precision"
