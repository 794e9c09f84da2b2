"""An installation from before there were modalities: all of it is of images, and answers and learns as it did.

`fixtures/home-before-modalities.json` says how the home beside it was made, and what that service said. The graph of
its backbone is not in it: it is the one that `espalier init` makes here.
"""

import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support.pictures import SHAPES, shape, shapes

from adapters.backbones import facts
from adapters.modalities.image import Preprocessing
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from service.processes import bundles

FIXTURES = Path(__file__).parents[1] / "fixtures"
WANTED = json.loads((FIXTURES / "home-before-modalities.json").read_text())
STORED = WANTED["stored"]
ASKED = [shape(kind, 9000 + n) for kind in SHAPES[:3] for n in range(2)]


@pytest.fixture(scope="module")
def graph(prepared: Path) -> Path:
    """The backbone's graph."""
    path = Artifacts(str(prepared / "artifacts"))
    if not path.is_sound(STORED["artifact"]):
        pytest.skip("this torch exports the embedded backbone as another graph than the one that made the home")
    return next((prepared / "artifacts").glob(f"blobs/*/{STORED['artifact']}"))


@pytest.fixture
def home(tmp_path: Path, graph: Path) -> Path:
    with tarfile.open(FIXTURES / "home-before-modalities.tar.xz") as archive:
        archive.extractall(tmp_path / "home", filter="data")
    blob = tmp_path / "home" / "artifacts" / "blobs" / graph.parent.name / graph.name
    blob.parent.mkdir(exist_ok=True)
    shutil.copy(graph, blob)
    return tmp_path / "home"


def test_its_facts_are_an_image_backbones_and_are_stored_the_same_again():
    backbone = facts.from_json(STORED)
    assert backbone.modality == "image"
    assert backbone.spec == Preprocessing(224, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
    assert json.dumps(facts.to_json(backbone)) == json.dumps(STORED), "to the order of its keys"
    assert facts.digest(backbone.artifact, backbone.spec, "fp32", "image") == backbone.digest
    assert facts.modality_of(WANTED["manifest"]) == "image"


def test_it_answers_and_learns_as_it_did(home, own_server):
    """Same versions, digests and scores; a new batch finds what was embedded, and its manifest says what it said."""
    old = own_server()
    answers = old.client.predict(["shapes", "shapes@1"], ASKED, top_k=3)["predictions"]
    keys = ("index", "head", "version", "digest", "label")
    assert [[a[k] for k in keys] for a in answers] == [[a[k] for k in keys] for a in WANTED["predictions"]]
    scores, wanted = ([t["score"] for a in said for t in a["top"]] for said in (answers, WANTED["predictions"]))
    np.testing.assert_allclose(scores, wanted, atol=1e-4)
    told = old.client.embed(ASKED[:2], taps=True)
    np.testing.assert_allclose([row[::100] for row in told["embeddings"]], WANTED["values"], atol=1e-3)
    [listed] = [b for b in old.client.backbones() if b["name"] == STORED["name"]]
    assert WANTED["backbone"].items() <= listed.items() and listed["modality"] == "image"
    job = old.client.wait(old.client.finetune("shapes", shapes(each=2, start=70), views="none", reads="pooled")["id"])
    assert job["status"] == "succeeded" and job["report"]["embedding"]["cached"] == 12
    assert old.client.manifest("shapes", job["version"])["backbone"] == WANTED["manifest"]


def test_a_bundle_made_by_its_release_is_read(tmp_path, graph):
    """And one that is made now is the same file."""
    name = STORED["name"]
    (tmp_path / f"{name}.json").write_text(json.dumps(STORED, indent=2))
    shutil.copy(graph, tmp_path / f"{name}.onnx")
    engine = database.connect(f"sqlite:///{tmp_path / 'espalier.sqlite'}")
    database.migrate(engine)
    bundles.register(str(tmp_path), engine, Artifacts(str(tmp_path / "artifacts")))
    read = backbones.find(engine, name)
    engine.dispose()
    assert read == facts.from_json(STORED)
    bundles.write(tmp_path / "again", read, graph.read_bytes())
    assert (tmp_path / "again" / f"{name}.json").read_text() == (tmp_path / f"{name}.json").read_text()
