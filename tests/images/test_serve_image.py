"""The image `serve`, built from a clean clone: how large it is, what it says of itself and what is not in it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import containers
from support.containers import Engine
from support.services import ROOT, espalier

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
LARGEST = 700e6  # bytes
NAME = "localhost/espalier-test"
USER = 10001


@pytest.fixture(scope="module")
def engine() -> Engine:
    return containers.find()


@pytest.fixture(scope="module")
def clone(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is committed, and nothing else that lies around."""
    folder = tmp_path_factory.mktemp("clone") / "espalier"
    subprocess.run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def backbones(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded backbone, built here: it takes torch, and the image has none."""
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("export") / "home"))
    espalier("backbones", "export", "tf_efficientnet_lite0", str(home.parent / "backbones"), home=home)
    return home.parent / "backbones"


@pytest.fixture(scope="module")
def image(engine: Engine, clone: Path, backbones: Path) -> Iterator[str]:
    yield containers.build(engine, clone, "serve", backbones, NAME)
    engine("rmi", "--force", f"{NAME}:serve", check=False)


def python_packages(engine: Engine, image: str) -> set[tuple[str, str]]:
    """(name, version) of what is installed."""
    program = "import importlib.metadata as m; print(*(f'{d.name.lower()}=={d.version}' for d in m.distributions()))"
    pairs = (item.partition("==") for item in engine.inside(image, "python", "-c", program).split())
    return {(name, version) for name, _, version in pairs}


def test_it_is_small_enough(engine, image):
    assert engine.inspect(image)["Size"] <= LARGEST


def test_it_says_what_it_is_and_runs_as_somebody_without_rights(engine, image, clone):
    found = engine.inspect(image)
    labels, revision = found["Config"]["Labels"], subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=clone)
    assert labels["org.opencontainers.image.revision"] == revision.decode().strip()
    assert {"title", "description", "licenses", "created", "version"} <= {name.rpartition(".")[2] for name in labels}
    assert found["Config"]["User"] == f"{USER}:{USER}"  # as a number, or Kubernetes cannot tell that it is not root
    assert found["Config"]["ExposedPorts"] == {"3000/tcp": {}}


def test_nothing_that_trains_or_builds_is_in_it(engine, image):
    names = {name for name, _ in python_packages(engine, image)}
    assert {"bentoml", "onnxruntime", "espalier"} <= names
    assert not names & {"torch", "torchvision", "timm", "onnx", "scikit-learn", "dbos", "pip", "setuptools", "wheel"}
