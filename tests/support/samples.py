"""Inputs of each modality, different ones, and how a small backbone of it would read them."""

import numpy as np

from adapters.backbones.cards import embedded_card
from adapters.modalities.image import Preprocessing
from adapters.modalities.text import Spec as Reading
from support.pictures import SHAPES, shape

INPUTS: dict[str, list[bytes]] = {
    "image": [shape(kind, 1) for kind in SHAPES[:3]],
    "text": [
        text.encode() for text in (
            "Where is my new card? It was sent two weeks ago.", "Überweisung fehlgeschlagen 😀", "Cancel it, please.",
        )
    ],
    "dna": [b"ACGTTGCA", b"CCGTAGGGCTAA", b"TTTAG"],
}  # fmt: skip
SPECS = {
    "image": Preprocessing(32, 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3),
    "text": Reading(**embedded_card("minilm").spec),
}
NOTHING_OF_IT = [b"", bytes(400), np.random.default_rng(0).bytes(400)]
