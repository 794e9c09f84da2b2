"""`bentoml build` makes a Bento that serves: its source is a copy, so what it lacks shows here and nowhere else."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.pictures import shape, shapes
from support.services import PATIENCE, ROOT, Service, environment, free_port

from service.client import Client

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
MARK = "/* of the Bento */"
BENTOML = str(Path(sys.executable).parent / "bentoml")


@pytest.fixture(scope="module")
def taught(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home folder with a head in it."""
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("taught") / "home"))
    service = Service(home).start()
    job = service.client.finetune("shapes", shapes(), wait=60, method="prototype")
    assert service.client.wait(job["id"])["status"] == "succeeded"
    service.stop()
    return home


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment with a store of Bentos of its own, in which no import finds the checkout."""
    home = tmp_path_factory.mktemp("bentoml")
    kept = {name: value for name, value in environment(home).items() if name != "PYTHONPATH"}
    return kept | {"BENTOML_HOME": str(home), "PYTHONSAFEPATH": "1", "HOME": str(home)}


@pytest.fixture(scope="module")
def tag(alone: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """Built from what is committed or staged, as `bentoml build` in a clean clone."""
    source = tmp_path_factory.mktemp("source")
    files = subprocess.check_output(["git", "ls-files", "-z"], cwd=ROOT, text=True).split("\0")
    for name in filter(None, files):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy2(ROOT / name, source / name)
    # The build imports the service from its folder.
    build = subprocess.run(
        [BENTOML, "build", "--output", "tag"], cwd=source, env=alone | {"PYTHONPATH": str(source)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert build.returncode == 0, build.stderr[-3000:]
    shutil.rmtree(source)
    (style,) = Path(alone["BENTOML_HOME"], "bentos").glob("*/*/src/service/web/templates/report.css")
    style.write_text(f"{style.read_text()}\n{MARK}\n")
    return build.stdout.strip().removeprefix("__tag__:")


@pytest.fixture(scope="module")
def served(tag: str, taught: Path, alone: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """`bentoml serve` of that tag, in a folder of its own."""
    port, folder = free_port(), tmp_path_factory.mktemp("elsewhere")
    command = [BENTOML, "serve", tag, "--host", "127.0.0.1", "--port", str(port)]
    with (folder / "log").open("wb") as log:
        env = alone | {"ESPALIER_HOME": str(taught)}
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log, start_new_session=True)
    client = Client(f"http://127.0.0.1:{port}", timeout=PATIENCE)
    try:
        client.wait_ready(PATIENCE)
        yield client
    except TimeoutError:
        raise AssertionError((folder / "log").read_text()[-3000:]) from None
    finally:
        client.close()
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def test_it_answers_for_a_head(served):
    answer = served.predict(["shapes"], [shape("circle", 99), shape("square", 99)])
    assert [each["label"] for each in answer["predictions"]] == ["circle", "square"]


def test_its_pages_came_with_it(served):
    page = served._http.get("/heads/shapes/report", headers={"Accept": "text/html"})
    assert page.status_code == 200 and "<svg" in page.text
    assert MARK in page.text, "it was the checkout that served"
    assert served._http.get("/docs").status_code == served._http.get("/metrics").status_code == 200
