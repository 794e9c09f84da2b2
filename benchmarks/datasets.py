"""Real data sets as embeddings of the embedded backbone, for benchmarks of training: (embeddings, targets, groups).

What they are made of is in `photo_sets`. Embeddings are kept in `.espalier/benchmarks-taps`, because making them takes
a minute: delete that folder after a change of the backbone, of a variant or of a data set.
"""

import functools
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

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
from benchmarks import photo_sets, record

CACHE = record.ROOT / ".espalier" / "benchmarks-taps"
POOLED = 1280  # numbers of the embedded backbone's `pooled`, the first of an embedding
FULL = "fp32"  # the precision that groups of near-duplicates are found in, whichever is asked for


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
        arrays: dict[str, Any] = _embedded(list(photo_sets.ALL[name]()), precision)
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
        arrays: dict[str, Any] = _views(list(photo_sets.ALL[name]()))
        np.savez(path, **arrays)
    return dict(np.load(path))


def load_pixels(name: str) -> np.ndarray:
    """What the backbone is shown of the images of a data set, u8 [N, S, S, 3]; a mapped file."""
    path = CACHE / f"{name}-pixels.npy"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        spec = backbone_of(FULL)[0].spec
        labeled = list(photo_sets.ALL[name]())
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


def _embedded(labeled: list[photo_sets.Photo], precision: str) -> dict[str, np.ndarray]:
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


def _views(labeled: list[photo_sets.Photo]) -> dict[str, Embeddings]:
    loaded, names = session_of(FULL), list(dict.fromkeys(view for choice in image.VIEWS.values() for view in choice))

    def embed(photo: photo_sets.Photo) -> np.ndarray:
        looks = image.decode_views(photo.data, loaded.backbone.spec, names)
        return np.stack([loaded.embed([look])[0, :POOLED] for look in looks])  # [V, D]

    with ThreadPoolExecutor(processor.cores()) as pool:
        found = np.stack(list(pool.map(embed, labeled)), axis=1)
    return dict(zip(names, found, strict=True))


def _one(loaded: BackboneSession, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    tensors = image.decode(data, loaded.backbone.spec)
    return loaded.embed([tensors])[0], image.fingerprint(tensors, data)
