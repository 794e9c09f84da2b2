"""The commands of the README work as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from support.pictures import SHAPES, shape
from support.services import ROOT, Service, environment

ADDRESS = "http://127.0.0.1:3000"


def blocks(info: str) -> list[str]:
    """The code blocks of the README whose opening fence says `info`."""
    return re.findall(rf"^```{info}\n(.*?)^```$", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)


def photos(folder: Path, kind: str, count: int) -> None:
    """Pictures 1.jpg, 2.jpg, … of one kind."""
    folder.mkdir(parents=True)
    for number in range(1, count + 1):
        (folder / f"{number}.jpg").write_bytes(shape(kind, seed=number, format="JPEG"))


def test_the_tour_and_the_python_example_run(server: Service, tmp_path: Path) -> None:
    """Each block marked `tour`, one after another, with photos in the folders it names; then the Python example."""
    photos(tmp_path / "photos" / "cat", SHAPES[0], 10)
    photos(tmp_path / "photos" / "dog", SHAPES[1], 10)
    photos(tmp_path / "more", SHAPES[2], 2)
    tour, python = "".join(blocks("bash tour")), "".join(blocks("python"))
    assert "espalier finetune" in tour and "curl" in tour and "client.predict" in python
    _run(["bash", "-euo", "pipefail", "-c", tour.replace(ADDRESS, server.url)], server, tmp_path)
    answer = _run([sys.executable, "-c", python.replace(ADDRESS, server.url)], server, tmp_path)
    assert answer.split()[0] in ("cat", "dog")
    assert (tmp_path / "pets.onnx").stat().st_size > 1000


def _run(command: list[str], server: Service, folder: Path) -> str:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = environment(server.home) | {"ESPALIER_SERVER": server.url, "PATH": path}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
