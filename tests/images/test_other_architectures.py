"""Every wheel of what serves is there for arm64, so that the image can be built for it from the same pins."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.services import ROOT

MACHINE = "aarch64"
OLDEST, NEWEST = 17, 36  # of glibc, 2.x: Debian 12 has 2.36
EXTRAS = ("cpu", "postgres", "heic", "otel")


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.13"])
def test_what_serves_can_be_installed_without_a_compiler(python: str, tmp_path: Path):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(line for extra in EXTRAS for line in project["optional-dependencies"][extra])]
    (tmp_path / "wanted.txt").write_text("\n".join(wanted))
    platforms = [f"--platform=manylinux_2_{minor}_{MACHINE}" for minor in range(OLDEST, NEWEST + 1)]
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--only-binary=:all:"]
    command += [f"--target={tmp_path / 'nothing'}", "--implementation=cp", f"--python-version={python}", *platforms]
    command += [f"--platform=manylinux2014_{MACHINE}", "-c", str(ROOT / "constraints.txt"), "-r", "wanted.txt"]
    # Wheels that lie on this machine are for this machine.
    env = os.environ | {"PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=280)
    if "Failed to establish a new connection" in done.stderr or "NameResolutionError" in done.stderr:
        pytest.skip("the package index does not answer")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Would install" in done.stdout
