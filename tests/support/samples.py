"""Inputs of each modality, different ones, and how a small backbone of it would read them."""

import numpy as np

from adapters.modalities.image import Preprocessing
from adapters.modalities.text import Spec as Reading
from support.pictures import SHAPES, shape

INPUTS: dict[str, list[bytes]] = {
    "image": [shape(kind, 1) for kind in SHAPES[:3]],
    "text": [
        b"Where is my new card? It was sent two weeks ago.", "Überweisung fehlgeschlagen 😀".encode(), b"Cancel it, please."
    ],
}  # fmt: skip
NOTHING_OF_IT = [b"", bytes(400), np.random.default_rng(0).bytes(400)]
