"""Backbones: any timm model becomes one, wrong weights do not, and one request may span several."""

import hashlib
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from support.pictures import shape, shapes

from service.cli import main

# timm and torch's exporter warn about themselves, by kinds of their own.
pytestmark = pytest.mark.filterwarnings("ignore")

MOBILENET = ("pad_type=same", "mean=0.5", "std=0.5", "interpolation=bilinear")


@pytest.fixture(scope="session")
def weights(data: Path) -> Path:
    """The weights of a second real backbone."""
    path = data.parent / "weights" / "mobilenetv2_100.pth"
    if not path.is_file():
        pytest.skip(f"there is no {path}")
    return path


def run(home: Path, *arguments: str) -> Result:
    """The command line in this process, which has loaded torch already."""
    return CliRunner().invoke(main, ["backbones", *arguments], env={"ESPALIER_HOME": str(home)})


def ask(home: Path, *arguments: str) -> Any:
    done = run(home, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def add(home: Path, *arguments: str) -> dict:
    return ask(home, "add", *arguments)


def refusal(home: Path, *arguments: str) -> str:
    done = run(home, "add", *arguments)
    assert isinstance(done.exception, SystemExit) and done.exit_code == 1, done.exception
    return done.stderr


@pytest.mark.slow
@pytest.mark.data
def test_a_second_real_backbone_is_built_taught_and_asked_together_with_the_first(home, own_server, weights):
    """Two heads on two backbones answer one /predict, each with its own backbone's embedding."""
    facts = add(home, "mobilenetv2_100", "--weights", str(weights), *MOBILENET)
    assert (facts["dimension"], facts["preprocessing"]["interpolation"]) == (1280, "bilinear")
    assert max(v for k, v in facts["details"]["parity"].items()) <= 1e-4
    service = own_server()
    client = service.client
    assert {b["name"] for b in client.backbones()} == {"tf_efficientnet_lite0", "mobilenetv2_100", "minilm"}
    for head, backbone in (("first", None), ("second", "mobilenetv2_100")):
        job = client.finetune(head, shapes(), method="prototype", backbone=backbone, wait=60)
        assert client.wait(job["id"])["status"] == "succeeded"
    image = shape("square", 44)
    answer = client.predict(["first", "second"], [image, shape("circle", 44)])["predictions"]
    assert [(p["index"], p["head"]) for p in answer] == [(0, "first"), (0, "second"), (1, "first"), (1, "second")]
    assert [p["label"] for p in answer] == ["square", "square", "circle", "circle"]
    assert client.manifest("second", 1)["backbone"]["digest"] == facts["digest"]
    both = [client.embed([image], backbone=b)["embeddings"] for b in ("tf_efficientnet_lite0", "mobilenetv2_100")]
    assert not np.allclose(*both)
    mixed = client.predict(["first", "second"], [b"no image", image], on_error="skip")
    assert [p["index"] for p in mixed["predictions"]] == [1, 1] and [e["index"] for e in mixed["errors"]] == [0]
    # A head stays on its backbone unless the caller says otherwise, and a backbone in use is not removed.
    again = client.wait(client.finetune("second", shapes(("cross",)), method="prototype")["id"])
    assert again["request"]["backbone"] == "mobilenetv2_100"
    refused = run(home, "remove", "mobilenetv2_100")
    assert refused.exit_code == 1 and "second" in refused.stderr


@pytest.mark.data
def test_weights_of_another_model_are_refused_in_one_sentence(home, weights):
    """Which tensors are missing, unexpected or of another shape is said."""
    assert "do not fit resnet18: missing" in refusal(home, "resnet18", "--weights", str(weights))
    assert "do not fit mobilenetv2_050" in refusal(home, "mobilenetv2_050", "--weights", str(weights))
    assert [b["name"] for b in _listed(home)] == ["tf_efficientnet_lite0"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "dimension", "cut"), [("resnet18", 512, "layer3"), ("vit_tiny_patch16_224", 192, "blocks.10")]
)
def test_any_timm_model_becomes_a_backbone(home, name, dimension, cut):
    """A ResNet and a ViT with random weights: built, proven, listed, shown and removed."""
    facts = add(home, name, "--weights", "random", "--name", "mine")
    assert facts["dimension"] == dimension and facts["details"]["timm_name"] == name
    assert max(facts["details"]["parity"].values()) <= 1e-4
    assert [b["name"] for b in _listed(home)] == ["mine", "tf_efficientnet_lite0"]
    assert ask(home, "show", "mine") == facts
    assert "mine" in run(home, "list").stdout
    assert [facts["details"]["cuts"][at]["name"] for at in (0, -1)] == ["all", cut]
    shown = run(home, "show", "mine").stdout
    assert cut in shown and "weights after it" in shown
    blob = home / "artifacts" / "blobs" / facts["artifact"][:2] / facts["artifact"]
    assert hashlib.sha256(blob.read_bytes()).hexdigest() == facts["artifact"]
    run(home, "remove", "mine")
    assert not blob.exists() and [b["name"] for b in _listed(home)] == ["tf_efficientnet_lite0"]


def test_building_a_backbone_again_gives_the_same_digest(home):
    """The embedded one, from its card: a rebuilt installation can serve heads that were trained before."""
    (before,) = _listed(home)
    assert add(home, "tf_efficientnet_lite0")["digest"] == before["digest"]


class Harmful:
    """What a pickle may do when it is loaded."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (Path(self.path),)


def test_pickled_weights_are_refused_without_running_them(home, tmp_path):
    """weights_only: neither a pickle nor a whole model is loaded, and nothing in it runs."""
    touched = tmp_path / "touched"
    pickled, model = tmp_path / "pickled.pth", tmp_path / "model.pth"
    pickled.write_bytes(pickle.dumps(Harmful(str(touched))))
    torch.save({"state_dict": {"weight": Harmful(str(touched))}}, model)
    for path in (pickled, model):
        assert f"{path.name} holds more than tensors" in refusal(home, "resnet18", "--weights", str(path))
        assert not touched.exists()


def test_a_wrong_request_for_a_backbone_is_one_sentence(home, tmp_path):
    """Unknown model, missing file, damaged file, an option that is none."""
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no tensors")
    assert "'no_such_model'" in refusal(home, "no_such_model", "--weights", "random")
    assert "no weights file" in refusal(home, "resnet18", "--weights", str(tmp_path / "missing.pth"))
    assert "damaged" in refusal(home, "resnet18", "--weights", str(damaged))
    assert "OPTION=VALUE" in refusal(home, "resnet18", "mean")


def test_an_exported_bundle_serves_elsewhere_without_torch(home, tmp_path):
    """`backbones export` writes files that ESPALIER_BACKBONE_BUNDLE registers in an empty home."""
    folder = tmp_path / "bundle"
    run(home, "export", "tf_efficientnet_lite0", str(folder))
    assert {p.name for p in folder.iterdir()} == {"tf_efficientnet_lite0.onnx", "tf_efficientnet_lite0.json"}
    from service.context import Context
    from service.processes import setup
    from service.settings import Settings

    settings = Settings(home=tmp_path / "empty", backbone_bundle=str(folder))
    context = Context.open(settings)
    try:
        context.warm()
        assert context.predictor.backbones.loaded() == [_listed(home)[0]["digest"]]
        assert not setup.is_done(settings, context.engine)  # a worker has yet to say what it can do
    finally:
        context.close()


def _listed(home: Path) -> list[dict]:
    """Those of images: beside them the set-up makes one of texts."""
    return [each for each in ask(home, "list") if each["modality"] == "image"]
