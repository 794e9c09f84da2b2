"""Inputs of each modality, different ones, and how a small backbone of it would read them."""

import numpy as np

from adapters import modalities
from adapters.modalities.image import Preprocessing
from support.pictures import SHAPES, shape

INPUTS: dict[str, list[bytes]] = {"image": [shape(kind, 1) for kind in SHAPES[:3]]}
SPECS = {"image": Preprocessing(32, 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3)}
NOTHING_OF_IT = [b"", bytes(400), np.random.default_rng(0).bytes(400)]
