"""Bytes → pixels for the peers: plain Pillow, with the crop that the backbone was trained for."""

import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

FOLDER = Path(os.environ.get("PEER_FOLDER", "."))
HEADS = int(os.environ.get("PEER_HEADS", "1"))
CORES = int(os.environ.get("PEER_CORES", "1"))
PORT = int(os.environ.get("PEER_PORT", "3000"))


def names() -> list[str]:
    """The heads to serve."""
    return [f"head-{number}" for number in range(HEADS)]


def facts() -> dict[str, Any]:
    """Preprocessing, classes and the backbone's name in timm."""
    return json.loads((FOLDER / "facts.json").read_text())


class Photos:
    """Decodes as `facts` says."""

    def __init__(self) -> None:
        shape = facts()
        self.size, self._crop = shape["size"], shape["crop_pct"]
        self._filter = Image.Resampling[shape["interpolation"].upper()]

    def decode(self, data: bytes) -> Any:
        """Bytes → uint8 [S, S, 3]."""
        return self.pixels(Image.open(io.BytesIO(data)))

    def pixels(self, image: Image.Image) -> Any:
        """An opened image → uint8 [S, S, 3]. Only the crop is resized, which costs less than timm's own transform."""
        side = min(image.width, image.height) * self._crop
        left, top = (image.width - side) / 2, (image.height - side) / 2
        box = (left, top, left + side, top + side)
        return np.asarray(image.convert("RGB").resize((self.size, self.size), self._filter, box=box))
