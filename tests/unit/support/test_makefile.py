"""`make setup` on machines that lack something: it says what, and goes on once that is there."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.services import PATIENCE, ROOT

PACKAGES = f"""#!{sys.executable}
import pathlib, sys
asked = sys.argv[1:]
if asked[:2] == ["-m", "venv"]:
    folder = pathlib.Path(asked[-1], "bin")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "python").unlink(missing_ok=True)
    (folder / "python").symlink_to(sys.argv[0])
    if BROKEN == "venv":
        sys.exit("ensurepip is not available")
elif asked[:2] == ["-m", "pip"] and BROKEN in ("venv", asked[2]):
    print(f"{{asked[2]}} did not work", file=sys.stderr)
    sys.exit(1)
elif asked[:1] == ["-c"]:
    sys.version_info = VERSION
    exec(asked[1])
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def setup(checkout: Path, broken: str = "", version: tuple[int, int] = (3, 13)) -> subprocess.CompletedProcess[str]:
    """`make setup` with a Python that stands for one which lacks something, and that installs nothing."""
    python = checkout / f"python-{broken or version}"
    python.write_text(PACKAGES.replace("BROKEN", repr(broken)).replace("VERSION", repr(version)))
    python.chmod(0o755)
    command = ["make", "setup", f"PYTHON='{python}'", "EXTRA=cpu"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, timeout=PATIENCE)


def test_without_venv_it_names_the_package_and_goes_on_once_that_is_there(checkout):
    failed = setup(checkout, "venv")
    assert failed.returncode != 0 and "python3-venv" in failed.stdout
    assert (checkout / ".venv" / "bin" / "python").exists(), "half made, as Python leaves it"
    assert setup(checkout).returncode == 0
    assert (checkout / ".venv" / ".installed-cpu").exists()


@pytest.mark.parametrize("step", ["uninstall", "install"])
def test_a_step_that_fails_shows_its_log_and_is_taken_again(checkout, step):
    failed = setup(checkout, step)
    assert failed.returncode != 0 and f"{step} did not work" in failed.stdout and "install.log" in failed.stdout
    assert not (checkout / ".venv" / ".installed-cpu").exists()


@pytest.mark.parametrize(("version", "fits"), [((3, 10), False), ((3, 11), True), ((3, 13), True), ((3, 14), False)])
def test_a_python_that_the_readme_does_not_name_is_refused(checkout, version, fits):
    done = setup(checkout, version=version)
    assert (done.returncode == 0) == fits
    assert fits or ("3.11 to 3.13" in done.stdout and not (checkout / ".venv").exists())
    assert "Python 3.11 to 3.13" in (ROOT / "README.md").read_text()
