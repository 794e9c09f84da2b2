"""Golden vectors: what the embedded backbone answers on fixed pictures must not move with a release of anything.

`vectors.json` holds, for each picture, 32 evenly spaced values of the pooled output and its norm, and `taps.json` the
same of what earlier blocks saw. To write them anew after a change that is meant to move them (which also makes all
heads trained before useless):

    python tests/golden/test_backbone_vectors.py
"""

import io
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from adapters.backbones.cards import embedded_card
from adapters.modalities import image
from adapters.runtime.backbone import Backbones, BackboneSession
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from service.loading import load_backbone

FILE, TAPS = (Path(__file__).with_name(f"{name}.json") for name in ("vectors", "taps"))
POOLED = 1280
KEPT = 32  # values of a vector
# Of the vector's norm. Processors add floats in different orders; another resize filter or mean moves it by over 1e-2.
TOLERANCE = 1e-3


def pictures() -> dict[str, bytes]:
    """scikit-learn's two photos as PNG (so that no JPEG decoder has a say), and two pictures that are computed."""
    from sklearn.datasets import load_sample_image

    y, x = np.mgrid[0:300, 0:400]
    gradient = np.stack([x * 255 // 399, y * 255 // 299, (x + y) * 255 // 698], axis=-1).astype(np.uint8)
    checks = np.where(((x // 25 + y // 25) % 2)[..., None], [230, 60, 40], [20, 90, 200]).astype(np.uint8)
    arrays = {name: load_sample_image(f"{name}.jpg") for name in ("china", "flower")}
    return {name: _png(array) for name, array in (arrays | {"gradient": gradient, "checks": checks}).items()}


def _png(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return file.getvalue()


def embed(session: BackboneSession, data: bytes) -> np.ndarray:
    return session.embed([image.decode(data, session.backbone.spec)])[0]


def summary(vector: np.ndarray) -> dict[str, object]:
    kept = vector[:: len(vector) // KEPT][:KEPT]
    return {"norm": round(float(np.linalg.norm(vector)), 4), "values": [round(float(v), 5) for v in kept]}


@pytest.fixture(scope="module")
def session(prepared: Path) -> BackboneSession:
    """The embedded backbone as `espalier init` built it."""
    engine = database.connect(f"sqlite:///{prepared / 'espalier.sqlite'}")
    artifacts = Artifacts(str(prepared / "artifacts"))
    card = embedded_card("tf_efficientnet_lite0")
    found = Backbones(lambda digest: load_backbone(engine, artifacts, digest))
    session = found.get(backbones.find(engine, card.name).digest)
    engine.dispose()
    return session


def test_an_image_that_is_alone_gets_the_same_answer(prepared):
    engine = database.connect(f"sqlite:///{prepared / 'espalier.sqlite'}")
    backbone = backbones.find(engine, "tf_efficientnet_lite0")
    graph = Artifacts(str(prepared / "artifacts")).get(backbone.artifact)
    session = BackboneSession(backbone, graph)
    session.widen(graph, 2)
    assert session._wide is not session._session
    for data in pictures().values():
        one = [image.decode(data, backbone.spec)]
        np.testing.assert_array_equal(session.embed(one, alone=True), session.embed(one))
    engine.dispose()


@pytest.mark.parametrize(("file", "part"), [(FILE, slice(POOLED)), (TAPS, slice(POOLED, None))], ids=["pooled", "taps"])
@pytest.mark.parametrize("name", ["china", "flower", "gradient", "checks"])
def test_the_embedded_backbone_answers_as_it_always_did(session, name, file, part):
    wanted = json.loads(file.read_text())[name]
    vector = embed(session, pictures()[name])
    found = summary(vector[part])
    assert vector.shape == (POOLED + 2184,)
    assert found["norm"] == pytest.approx(wanted["norm"], rel=TOLERANCE)
    np.testing.assert_allclose(found["values"], wanted["values"], atol=TOLERANCE * wanted["norm"])


def test_golden_vectors_tell_preprocessing_apart(session):
    """A shift of three grey levels moves a vector by more than the tolerance: these tests can fail."""
    photo = pictures()["china"]
    pixels = image.pixels(photo, session.backbone.spec)
    moved = session.embed([{"pixels": np.clip(pixels.astype(int) + 3, 0, 255).astype(np.uint8)}])[0]
    vector = embed(session, photo)
    assert np.abs(moved - vector).max() > TOLERANCE * np.linalg.norm(vector)


@pytest.mark.parametrize("count", [1, 3, 8])
def test_passes_with_buffers_answer_as_a_run_does(session, count):
    """As on a GPU, bit for bit: from two threads at a time, each with images of its own."""
    bound = session.bound
    photos = np.stack([image.pixels(data, session.backbone.spec) for data in pictures().values()] * 2)
    batches = [{"pixels": photos[:count]}, {"pixels": photos[::-1][:count]}]
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(bound.embed, batches))
    for pixels, answered in zip(batches, answers, strict=True):
        np.testing.assert_array_equal(answered, session.plain(pixels))


def test_a_batch_embeds_as_its_images_do(session):
    """Batches of several give each image the vector it has alone."""
    decoded = [image.decode(data, session.backbone.spec) for data in pictures().values()]
    alone = np.concatenate([session.embed([one]) for one in decoded])
    np.testing.assert_allclose(session.embed(decoded), alone, atol=1e-4)


def _write() -> None:
    import tempfile

    from adapters.training.backbone.build import build

    with tempfile.TemporaryDirectory() as folder:
        engine = database.connect(f"sqlite:///{folder}/espalier.sqlite")
        database.migrate(engine)
        artifacts = Artifacts(folder)
        backbone = build(embedded_card("tf_efficientnet_lite0"), engine, artifacts)
        session = BackboneSession(backbone, artifacts.get(backbone.artifact))
        engine.dispose()
    vectors = {name: embed(session, data) for name, data in pictures().items()}
    for file, part in ((FILE, slice(POOLED)), (TAPS, slice(POOLED, None))):
        rows = {name: summary(vector[part]) for name, vector in vectors.items()}
        file.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    _write()
