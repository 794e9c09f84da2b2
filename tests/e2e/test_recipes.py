"""The recipes of docs/recipes run as they stand there, over HTTP: on small images, with random weights."""

import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image
from support.pictures import SHAPES, encoded, labeled, shape
from support.services import ROOT, Service, environment, espalier

from service.client import ApiError

PAGE = ROOT / "docs" / "recipes" / "finetuning.md"
COMMANDS = re.findall(r"^```bash recipe\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
ADDED = re.compile(r"espalier backbones add (\S+) --name (\S+)(.*)")
# No hub is asked, and what is shown is that each runs: sizes are the smallest that a network takes.
SMALL = {"inception": "size=80", "vgg16": "size=32 mlp_ratio=0.02"}
CLASSES, EACH = SHAPES[:2], 2  # two folds, which is quickest
EPOCHS = 4  # one more than any recipe trains the head alone for
PATIENCE = 280  # seconds a block


def blocks() -> list[str]:
    """With weights that no hub has to give, sizes that take seconds, and a few of the epochs."""
    small = [
        ADDED.sub(lambda found: f"{found[0]} --weights random {SMALL.get(found[2], 'size=32')}", block)
        for block in COMMANDS
    ]
    return [re.sub(r'"epochs": \d+', f'"epochs": {EPOCHS}', block) for block in small]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ./photos, of two classes."""
    folder = tmp_path_factory.mktemp("recipes")
    for kind in CLASSES:
        (folder / "photos" / kind).mkdir(parents=True)
        for number in range(EACH):
            (folder / "photos" / kind / f"{number}.png").write_bytes(shape(kind, number))
    return folder


def run(block: str, server: Service, folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = environment(server.home) | {"ESPALIER_SERVER": server.url, "PATH": path}
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def asked(block: str) -> tuple[str, dict]:
    """The head of a block, and its hyperparameters."""
    (head,) = re.findall(r"espalier finetune (\S+)", block)
    return head, json.loads(re.search(r"--hyperparameters '(.*?)'", block, re.DOTALL)[1])


def taught(block: str, server: Service, folder: Path) -> None:
    """It runs, its head answers, and what is on record are the hyperparameters that it names."""
    run(block, server, folder)
    head, hyperparameters = asked(block)
    (answer,) = server.client.predict([head], [shape(CLASSES[0], 900)])["predictions"]
    assert answer["label"] in CLASSES and answer["version"] == 1
    manifest = server.client.manifest(head, 1)
    used = server.client.report(head)["winner"]["hyperparameters"]
    assert {name: used[name] for name in hyperparameters} == hyperparameters
    assert ("deep" in manifest) == ("unfreeze" in hyperparameters)


def test_the_page_has_every_recipe() -> None:
    """None is skipped for want of a mark."""
    assert len(COMMANDS) == 7 and len({asked(block)[0] for block in COMMANDS}) == 7
    assert "--hyperparameters" in PAGE.read_text() and PAGE.read_text().count("--hyperparameters") == 7


def test_a_frozen_backbone_with_a_dense_layer(server: Service, photos: Path) -> None:
    taught(blocks()[0], server, photos)


@pytest.mark.slow  # five networks are exported
@pytest.mark.timeout(600)
@pytest.mark.parametrize("numbers", [(1, 2), (3, 4), (5,), (6,)], ids=["vgg16", "inception", "resnet50", "grey"])
def test_networks_whose_last_blocks_or_all_are_trained(numbers: tuple[int, ...], server: Service, photos: Path) -> None:
    """Blocks of one network, which the first of them adds, one after another."""
    for number in numbers:
        taught(blocks()[number], server, photos)


@pytest.mark.slow
def test_a_backbone_that_reads_alpha_is_taught_and_refuses_what_has_none(server: Service) -> None:
    """Over HTTP, with the fix: 4xx."""
    adding = "resnet10t", "--name", "alpha", "--weights", "random", "in_chans=4", "size=32"
    espalier("backbones", "add", *adding, home=server.home)
    sent = [labeled(f"{kind}-{n}.png", veiled(kind, n), kind) for n in range(4) for kind in CLASSES]
    job = server.client.finetune("veiled", inputs=sent, method="prototype", backbone="alpha", wait=60)
    assert server.client.wait(job["id"])["status"] == "succeeded"
    assert server.client.predict(["veiled"], [veiled("circle", 9)])["predictions"][0]["label"] in CLASSES
    with pytest.raises(ApiError, match=r"no alpha channel.*send a PNG") as refused:
        server.client.predict(["veiled"], [shape("circle", 9)])
    assert refused.value.status == 422
    plain = [labeled(f"{kind}-{n}.png", shape(kind, n), kind) for n in range(4) for kind in CLASSES]
    failed = server.client.wait(
        server.client.finetune("plain", inputs=plain, method="prototype", backbone="alpha")["id"]
    )
    assert failed["status"] == "failed" and "no alpha channel" in str(failed["error"])


def veiled(kind: str, seed: int) -> bytes:
    """A picture that is transparent where it is dark."""
    picture = Image.open(io.BytesIO(shape(kind, seed)))
    picture.putalpha(picture.convert("L").point(lambda value: 255 * (value > 120)))
    return encoded(picture)
