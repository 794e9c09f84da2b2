"""Real data sets as embeddings of the embedded backbone, for benchmarks of training: (embeddings, targets, groups).

weather, omniglot and bccd are looked for in ../shared/data (or ESPALIER_TEST_DATA); scikit-learn's digits are always
there. Embeddings are kept in `.espalier/benchmarks`, because making them takes a minute.
"""

import io
import os
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from adapters.backbones.cards import DEFAULT, embedded_card
from adapters.modalities import image
from adapters.runtime import session
from adapters.runtime.backbone import BackboneSession
from adapters.store import database
from adapters.store.artifacts import Artifacts
from adapters.training.backbone import build
from adapters.training.duplicates import fingerprint, groups
from adapters.types import Embeddings, Indices
from benchmarks import record

DATA = Path(os.environ.get("ESPALIER_TEST_DATA", record.ROOT.parent / "shared" / "data"))
CACHE = record.ROOT / ".espalier" / "benchmarks"
Labeled = Iterator[tuple[bytes, str]]


def weather() -> Labeled:
    """1,123 photos of four kinds of sky."""
    for file in sorted((DATA / "weather").glob("*/*.jp*g")):
        yield file.read_bytes(), file.parent.name


def omniglot() -> Labeled:
    """136 characters, 15 drawings of each."""
    archive = zipfile.ZipFile(sorted((DATA / "omniglot").glob("*.zip"))[0])
    names = sorted(name for name in archive.namelist() if name.endswith(".png") and "__MACOSX" not in name)
    seen: dict[str, int] = {}
    for name in names:
        label = str(Path(name).parent)
        seen[label] = seen.get(label, 0) + 1
        yield archive.read(name), label


def digits() -> Labeled:
    """1,797 handwritten digits of 8 × 8 pixels, as 64 px PNG files."""
    from sklearn.datasets import load_digits

    data = load_digits()
    for picture, target in zip(data.images, data.target, strict=True):
        grey = Image.fromarray((255 - picture * 255 / 16).round().astype(np.uint8))
        buffer = io.BytesIO()
        grey.resize((64, 64), Image.Resampling.BICUBIC).save(buffer, "PNG")
        yield buffer.getvalue(), str(target)


ALL: dict[str, Callable[[], Labeled]] = {"weather": weather, "omniglot": omniglot, "digits": digits}


def load(name: str) -> tuple[Embeddings, Indices, Indices]:
    """Embeddings f32 [N, D], class numbers i64 [N] and groups of near-duplicates i64 [N] of a data set."""
    path = CACHE / f"{name}.npz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        np.savez(path, **_embedded(list(ALL[name]())))
    stored = np.load(path)
    return stored["embeddings"], stored["targets"], stored["groups"]


def bccd_files() -> list[Path]:
    """The annotations of 364 photos of blood cells, in order."""
    return sorted((DATA / "bccd" / "Annotations").glob("*.xml"))


def bccd() -> tuple[Embeddings, Indices]:
    """Embeddings f32 [N, D] of those photos, and groups of near-duplicates i64 [N]."""
    path = CACHE / "bccd.npz"
    if not path.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        photos = [DATA / "bccd" / "JPEGImages" / f"{file.stem}.jpg" for file in bccd_files()]
        np.savez(path, **_embedded([(photo.read_bytes(), "") for photo in photos]))
    stored = np.load(path)
    return stored["embeddings"], stored["groups"]


def _embedded(labeled: list[tuple[bytes, str]]) -> dict[str, np.ndarray]:
    loaded = _backbone()
    with ThreadPoolExecutor(session.cores()) as pool:
        found = list(pool.map(lambda pair: _one(loaded, pair[0]), labeled))
    embeddings, prints = (np.stack(part) for part in zip(*found, strict=True))
    _, targets = np.unique([label for _, label in labeled], return_inverse=True)
    keys = [str(i) for i in range(len(labeled))]
    return {
        "embeddings": embeddings, "targets": targets.astype(np.int64),
        "groups": groups(embeddings, prints, keys, [None] * len(keys)),
    }  # fmt: skip


def _one(loaded: BackboneSession, data: bytes) -> tuple[np.ndarray, np.ndarray]:
    pixels = image.decode(data, loaded.backbone.preprocessing)
    return loaded.embed(pixels[None])[0], fingerprint(pixels)


def _backbone() -> BackboneSession:
    engine, artifacts = database.connect(f"sqlite:///{CACHE}/x.sqlite"), Artifacts(str(CACHE / "blobs"))
    database.migrate(engine)
    backbone = build(embedded_card(DEFAULT), engine, artifacts)
    return BackboneSession(backbone, artifacts.get(backbone.artifact))
