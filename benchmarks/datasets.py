"""Real data sets as embeddings of the embedded backbone, for benchmarks of training: (embeddings, targets, groups).

Most are looked for in ../shared/data (or ESPALIER_TEST_DATA), fashion where Debian's package dataset-fashion-mnist has
it. Embeddings are kept in `.espalier/benchmarks-taps`, because making them takes a minute: delete that folder after a
change of the backbone, of a variant or of a data set.
"""

import functools
import gzip
import io
import os
import xml.etree.ElementTree as ElementTree
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from adapters.backbones.cards import DEFAULT, embedded_card
from adapters.modalities import image
from adapters.modalities.image import alike, calibration
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.onnx import processor
from adapters.store import database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone import variant
from adapters.training.backbone.build import build
from adapters.training.data.duplicates import groups
from adapters.types import Backbone, Embeddings, Indices
from benchmarks import record

DATA = Path(os.environ.get("ESPALIER_TEST_DATA", record.ROOT.parent / "shared" / "data"))
FASHION, IDX = Path("/usr/share/datasets/fashion-mnist"), ("images-idx3-ubyte", "labels-idx1-ubyte")
CACHE = record.ROOT / ".espalier" / "benchmarks-taps"
POOLED = 1280  # numbers of the embedded backbone's `pooled`, the first of an embedding
FULL = "fp32"  # the precision that groups of near-duplicates are found in, whichever is asked for


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
        for row in np.flatnonzero(kinds == kind)[:300]:
            yield Photo(_png(Image.fromarray(grey.reshape(-1, 28, 28)[row])), str(kind))


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
    "gtsrb": gtsrb, "alphabets": alphabets, "fashion": fashion,
}  # fmt: skip


def load(name: str, precision: str = FULL, taps: bool = False) -> tuple[Embeddings, Indices, Indices]:
    """Embeddings, class numbers i64 [N] and groups of near-duplicates i64 [N] of a data set.

    Embeddings are f32 [N, D], `pooled` alone, or with `taps` [N, E]. Class numbers and groups are the same for every
    precision, so that precisions can be compared in pairs.
    """
    embeddings, targets, groups = _loaded(name, precision)
    return embeddings if taps else np.ascontiguousarray(embeddings[:, :POOLED]), targets, groups


def _loaded(name: str, precision: str) -> tuple[Embeddings, Indices, Indices]:
    path = CACHE / (f"{name}.npz" if precision == FULL else f"{name}-{precision}.npz")
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = _embedded(list(ALL[name]()), precision)
        np.savez(path, **arrays)
    stored = np.load(path)
    embeddings = stored["embeddings"]
    return (
        (embeddings, stored["targets"], stored["groups"])
        if precision == FULL
        else (embeddings, *_loaded(name, FULL)[1:])
    )


def load_views(name: str) -> dict[str, Embeddings]:
    """Every further view of the images of a data set, f32 [N, D] each: of `pooled`."""
    path = CACHE / f"{name}-views.npz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = _views(list(ALL[name]()))
        np.savez(path, **arrays)
    return dict(np.load(path))


def bccd_files() -> list[Path]:
    """The annotations of 364 photos of blood cells, in order."""
    return sorted((DATA / "bccd" / "Annotations").glob("*.xml"))


def load_pixels(name: str) -> np.ndarray:
    """What the backbone is shown of the images of a data set, u8 [N, S, S, 3]; a mapped file."""
    path = CACHE / f"{name}-pixels.npy"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        spec = backbone_of(FULL)[0].spec
        labeled = list(ALL[name]())
        unfinished = path.with_suffix(".part")
        shape = (len(labeled), spec.size, spec.size, 3)
        made = np.lib.format.open_memmap(unfinished, "w+", np.uint8, shape)
        with ThreadPoolExecutor(processor.cores()) as pool:
            for number, pixels in enumerate(pool.map(lambda photo: image.pixels(photo.data, spec), labeled)):
                made[number] = pixels
        unfinished.rename(path)
    found: np.ndarray = np.load(path, mmap_mode="r")
    return found


@functools.cache
def backbone_of(precision: str) -> tuple[Backbone, bytes]:
    """The embedded backbone in a precision, built where it is not there yet, and its graph."""
    CACHE.mkdir(parents=True, exist_ok=True)
    engine, artifacts = database.connect(f"sqlite:///{CACHE}/x.sqlite"), Artifacts(str(CACHE / "blobs"))
    database.migrate(engine)
    backbone = build(embedded_card(DEFAULT), engine, artifacts)
    if precision != FULL:
        images = calibration.crops(backbone.spec)
        backbone = variant.build(backbone, precision, images, engine, artifacts)
    return backbone, artifacts.get(backbone.artifact)


def session_of(precision: str) -> BackboneSession:
    """That backbone, loaded."""
    return BackboneSession(*backbone_of(precision), "cpu")


def _embedded(labeled: list[Photo], precision: str) -> dict[str, np.ndarray]:
    loaded = session_of(precision)
    with ThreadPoolExecutor(processor.cores()) as pool:
        found = list(pool.map(lambda photo: _one(loaded, photo.data), labeled))
    embeddings, prints = (np.stack(part) for part in zip(*found, strict=True))
    _, targets = np.unique([photo.label for photo in labeled], return_inverse=True)
    keys = [str(i) for i in range(len(labeled))]
    return {
        "embeddings": embeddings, "targets": targets.astype(np.int64),
        "groups": groups(alike, embeddings[:, :POOLED], prints, keys, [photo.group for photo in labeled]),
    }  # fmt: skip


def _views(labeled: list[Photo]) -> dict[str, Embeddings]:
    loaded, names = session_of(FULL), list(dict.fromkeys(view for choice in image.VIEWS.values() for view in choice))

    def embed(photo: Photo) -> np.ndarray:
        looks = image.decode_views(photo.data, loaded.backbone.spec, names)
        return np.stack([loaded.embed([look])[0, :POOLED] for look in looks])  # [V, D]

    with ThreadPoolExecutor(processor.cores()) as pool:
        found = np.stack(list(pool.map(embed, labeled)), axis=1)
    return dict(zip(names, found, strict=True))


def _one(loaded: BackboneSession, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    tensors = image.decode(data, loaded.backbone.spec)
    return loaded.embed([tensors])[0], image.fingerprint(tensors, data)
