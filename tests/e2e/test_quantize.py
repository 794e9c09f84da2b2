"""`espalier backbones quantize`: a variant of a backbone, heads of its own, and refusals in one sentence."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from PIL import Image
from support.pictures import shape, shapes

from service.cli import main

pytestmark = pytest.mark.filterwarnings("ignore")  # of timm and torch's exporter, by kinds of their own
FULL = "tf_efficientnet_lite0"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 30 pieces of scikit-learn's sample photos: few, so that calibration is quick."""
    from sklearn.datasets import load_sample_images

    folder = tmp_path_factory.mktemp("photos")
    for number in range(30):
        photo = Image.fromarray(load_sample_images().images[number % 2])
        left, top = 12 * number, 6 * number
        piece = io.BytesIO()
        photo.crop((left, top, left + 240, top + 240)).save(piece, "PNG")
        (folder / f"{number}.png").write_bytes(piece.getvalue())
    return folder


def run(home: Path, *arguments: str) -> Result:
    """The command line in this process, which has loaded torch already."""
    return CliRunner().invoke(main, ["backbones", *arguments], env={"ESPALIER_HOME": str(home)})


def ask(home: Path, *arguments: str) -> Any:
    done = run(home, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refusal(home: Path, *arguments: str) -> str:
    done = run(home, "quantize", *arguments)
    assert isinstance(done.exception, SystemExit) and done.exit_code == 1, done.exception
    return done.stderr


@pytest.mark.slow
def test_heads_on_an_int8_variant_are_taught_and_asked_beside_those_on_fp32(home, own_server, photos):
    """Each head is embedded by the backbone it was trained on; a variant in use is not removed."""
    facts = ask(home, "quantize", FULL, "--calibrate", str(photos), "--name", "quick")
    assert (facts["precision"], facts["details"]["parity"]["held_out"]) == ("int8", 6)
    assert facts["details"]["parity"]["images"] == "the folder that was given"
    client = own_server().client
    listed = {b["name"]: b for b in client.backbones()}
    assert listed["quick"]["precision"] == "int8" and listed[FULL]["default"] and not listed["quick"]["default"]
    for head, backbone in (("full", None), ("small", "quick")):
        job = client.finetune(head, shapes(), method="prototype", backbone=backbone, wait=60)
        assert client.wait(job["id"])["status"] == "succeeded"
    answer = client.predict(["full", "small"], [shape("square", 44)])["predictions"]
    assert [(p["head"], p["label"]) for p in answer] == [("full", "square"), ("small", "square")]
    digests = [client.manifest(head, 1)["backbone"]["digest"] for head in ("full", "small")]
    assert digests == [listed[FULL]["digest"], facts["digest"]] and digests[0] != digests[1]
    job = client.rebuild("full", "quick")  # the way of a head from one precision to another: the same examples
    assert client.wait(job["id"])["status"] == "succeeded"
    refused = run(home, "remove", "quick")
    assert refused.exit_code == 1 and "small" in refused.stderr


@pytest.mark.slow
def test_building_a_variant_again_gives_the_same_digest(home, photos):
    """On one machine: calibration draws nothing by chance."""
    first = ask(home, "quantize", FULL, "--calibrate", str(photos))
    assert ask(home, "quantize", FULL, "--calibrate", str(photos))["digest"] == first["digest"]
    assert first["name"] == f"{FULL}-int8"


def test_a_wrong_request_for_a_variant_is_one_sentence(home, photos, tmp_path):
    """Unknown backbone, unknown precision, nothing to calibrate on."""
    (tmp_path / "empty").mkdir()
    assert "'missing'" in refusal(home, "missing")
    assert "there are: fp16, int8" in refusal(home, FULL, "--precision", "bf16", "--calibrate", str(photos))
    assert "at least 20 are needed" in refusal(home, FULL, "--calibrate", str(tmp_path / "empty"))
    assert [b["name"] for b in ask(home, "list") if b["modality"] == "image"] == [FULL]


@pytest.mark.slow
@pytest.mark.data
def test_a_second_real_backbone_passes_the_gate_too(home, data):
    """MobileNetV2, calibrated on the crops that everybody has."""
    weights = data.parent / "weights" / "mobilenetv2_100.pth"
    if not weights.is_file():
        pytest.skip(f"there is no {weights}")
    options = ("pad_type=same", "mean=0.5", "std=0.5", "interpolation=bilinear")
    ask(home, "add", "mobilenetv2_100", "--weights", str(weights), *options)
    parity = ask(home, "quantize", "mobilenetv2_100")["details"]["parity"]
    assert parity["cosine_mean"] > 0.95 and parity["calibrated_on"] == 200


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet18", "vit_tiny_patch16_224"])
def test_other_architectures_convert(home, photos, name):
    """Pooling, attention and matrices, with random weights: the outputs keep their kinds, and the digest is new."""
    full = ask(home, "add", name, "--weights", "random", "--name", "mine")
    made = ask(home, "quantize", "mine", "--calibrate", str(photos), "--force")
    assert made["dimension"] == full["dimension"] and made["digest"] != full["digest"]
    assert made["details"]["parity"]["forced"]


@pytest.mark.slow
def test_int8_as_the_default_is_for_new_heads_only(home, own_server):
    """`serve` builds it once; a head that exists is trained and served on its backbone as before."""
    old = own_server()
    job = old.client.finetune("old", shapes(), method="prototype", wait=60)
    assert old.client.wait(job["id"])["status"] == "succeeded"
    old.stop()
    client = own_server(precision="int8").client
    defaults = {b["name"]: b["default"] for b in client.backbones() if b["modality"] == "image"}
    assert defaults == {FULL: False, f"{FULL}-int8": True}
    for head in ("old", "new"):
        job = client.finetune(head, shapes(("circle", "square", "cross")), method="prototype", wait=60)
        assert client.wait(job["id"])["status"] == "succeeded"
    used = [client.manifest(*version)["backbone"]["name"] for version in (("old", 1), ("old", 2), ("new", 1))]
    assert used == [FULL, FULL, f"{FULL}-int8"]
    assert {p["label"] for p in client.predict(["old", "new"], [shape("square", 44)])["predictions"]} == {"square"}
