"""A virtual environment for each peer, with its own packages pinned.

What a peer shares with Espalier (torch, timm, onnxruntime, Pillow, …) it takes from Espalier's environment, in the
same versions: the servers are compared, not the libraries below them, and 6 GB are not installed five times.
"""

import hashlib
import subprocess
import sys
import sysconfig
from pathlib import Path

from benchmarks.record import ROOT

FOLDER = ROOT / ".espalier" / "benchmarks" / "venvs"
REQUIREMENTS = Path(__file__).parent / "requirements"


def python(name: str) -> Path:
    """The interpreter of an environment, which is made when it is not there or its requirements have changed."""
    folder, wanted = FOLDER / name, REQUIREMENTS / f"{name}.txt"
    stamp = folder / f"installed-{hashlib.sha256(wanted.read_bytes()).hexdigest()[:12]}"
    if not stamp.exists():
        print(f"  installing {wanted.name}", flush=True)
        _make(folder, wanted)
        stamp.touch()
    return folder / "bin" / "python"


def versions(name: str) -> str:
    """What is pinned, for the record."""
    return ", ".join((REQUIREMENTS / f"{name}.txt").read_text().split())


def _make(folder: Path, wanted: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
    # A path that comes after the environment's own packages: those win, and pip counts the shared ones as installed.
    own = next(folder.glob("lib/python*/site-packages"))
    (own / "shared.pth").write_text(sysconfig.get_path("purelib") + "\n")
    pip: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "--quiet", "-r", wanted]
    subprocess.run(pip, check=True, capture_output=True)
