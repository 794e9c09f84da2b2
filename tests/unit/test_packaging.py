"""What is installed, built and named at the top of the repository fits together."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

import adapters
import service

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
DEPENDENCIES = [Requirement(line) for line in PROJECT["dependencies"]]


def pins() -> dict[str, str]:
    """constraints.txt: name → version."""
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    pairs = [re.fullmatch(r"([\w.-]+)==([\w.]+)", line) for line in lines]
    assert all(pairs), "every line of constraints.txt is name==version, without hosts, markers or local builds"
    return {canonicalize_name(pair[1]): pair[2] for pair in pairs if pair}


@pytest.mark.parametrize("package", [adapters, service])
def test_the_packages_are_those_of_this_repository(package: Any) -> None:
    """`adapters` is another project's name on PyPI: what is imported is ours."""
    assert Path(package.__file__).is_relative_to(ROOT)


def test_the_project_is_never_uploaded() -> None:
    """A wheel would install a top-level `adapters`."""
    assert "Private :: Do Not Upload" in PROJECT["classifiers"]


@pytest.mark.parametrize(
    "path", ["pyproject.toml", "constraints.txt", "bentofile.yaml", "Dockerfile", "Makefile", "README.md", "LICENSE"]
)
def test_the_files_of_the_layout_are_there(path: str) -> None:
    """The design's top level."""
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("path", ["service", "adapters", "tests", "benchmarks", "deploy", "examples", "docs"])
def test_the_folders_of_the_layout_are_there(path: str) -> None:
    """The design's top level."""
    assert (ROOT / path).is_dir()


def test_each_extra_has_its_own_onnxruntime() -> None:
    """The two overwrite each other's files, so only `cpu` has the one and only `gpu` the other."""
    runtimes = {name: {r.name for r in wanted if r.name.startswith("onnxruntime")} for name, wanted in EXTRAS.items()}
    assert {name: found for name, found in runtimes.items() if found} == {
        "cpu": {"onnxruntime"},
        "gpu": {"onnxruntime-gpu"},
    }
    assert not any(r.name.startswith("onnxruntime") for r in DEPENDENCIES)


def test_what_serves_asks_for_no_torch() -> None:
    """Neither the dependencies nor the serving extras name what only training needs."""
    served = {r.name for r in [*DEPENDENCIES, *EXTRAS["cpu"], *EXTRAS["gpu"], *EXTRAS["postgres"]]}
    assert not served & {"torch", "torchvision", "timm", "onnx", "scikit-learn"}


def test_every_requirement_is_pinned_within_its_bounds() -> None:
    """What CI installs is what pyproject.toml allows."""
    found = pins()
    wanted = [*DEPENDENCIES, *(r for extra in EXTRAS.values() for r in extra)]
    assert {r.name for r in wanted if canonicalize_name(r.name) not in found} == set()
    assert {str(r) for r in wanted if found[canonicalize_name(r.name)] not in r.specifier} == set()


def test_nothing_is_installed_that_has_no_pin() -> None:
    """Also what our requirements ask for, and what that asks for: no build takes what came out this morning."""
    found, seen = pins(), set()
    waiting = [*DEPENDENCIES, *(r for name, extra in EXTRAS.items() if name != "gpu" for r in extra)]
    while waiting:
        wanted = waiting.pop()
        extras = tuple(sorted(wanted.extras))
        if (key := (canonicalize_name(wanted.name), extras)) in seen:
            continue
        seen.add(key)
        asked = [Requirement(line) for line in metadata.requires(wanted.name) or []]
        waiting += [r for r in asked if r.marker is None or any(r.marker.evaluate({"extra": e}) for e in ("", *extras))]
    assert len(seen) > 100 and {name for name, _ in seen if name not in found} == set()


@pytest.mark.parametrize("path", ["deploy/images/tools.txt", ".ci/audit.txt"])
def test_tools_that_are_installed_elsewhere_are_pinned_too(path: str) -> None:
    """Every line is name==version: they are installed with --no-deps."""
    lines = [line for line in (ROOT / path).read_text().splitlines() if not line.startswith("#")]
    assert lines and all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)


def test_images_install_with_the_pins_alone() -> None:
    """Whatever calls pip there goes through one script, with constraints or a complete list."""
    folder = ROOT / "deploy" / "images"
    lines = [line for path in [ROOT / "Dockerfile", *folder.glob("*.sh")] for line in path.read_text().splitlines()]
    calls = [line for line in lines if not line.startswith("#") and re.search(r"\bpip\b.* install\b", line)]
    assert len(calls) == 1 and "/mnt/wheels" in calls[0]
    ours = [line for line in lines if "pip.sh /" in line]
    assert len(ours) == 3 and all("--no-deps" in line or '".[' in line for line in ours)


def test_torch_and_torchvision_are_pinned_as_a_pair() -> None:
    """A torch for CPU beside a torchvision for CUDA does not import: both are exact, and torchvision accepts torch."""
    found = pins()
    needed = next(Requirement(line) for line in metadata.requires("torchvision") or [] if line.startswith("torch"))
    assert metadata.version("torchvision") == found["torchvision"]
    assert found["torch"] in needed.specifier


def test_python_is_the_same_everywhere() -> None:
    """The oldest Python that pyproject.toml allows is the one ruff and mypy check for."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert SpecifierSet(PROJECT["requires-python"]).contains(tools["mypy"]["python_version"])
    assert tools["ruff"]["target-version"] == "py" + tools["mypy"]["python_version"].replace(".", "")


def test_the_readme_names_recipes_that_exist() -> None:
    """`make X` in the README or a guide is a target of the Makefile."""
    texts = [ROOT / "README.md", *(ROOT / "docs" / "guides").glob("*.md")]
    named = {name for text in texts for name in re.findall(r"`?make ([a-z-]+)\b", _code(text.read_text()))}
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
    assert {"demo", "serve", "test", "check", "bench"} <= targets


def test_make_help_lists_every_recipe() -> None:
    """`make` alone says what there is."""
    listed = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {line.split()[0] for line in listed.stdout.splitlines()} == targets


def test_local_links_of_the_readme_lead_somewhere() -> None:
    """No dead link on the first page."""
    links = re.findall(r"\]\((?!http)([^)#]+)", (ROOT / "README.md").read_text())
    assert links and [link for link in links if not (ROOT / link).exists()] == []


def test_the_bentofile_names_the_service() -> None:
    """`service:` can be imported."""
    module, _, name = bentofile()["service"].partition(":")
    # A process of its own: BentoML's import warns, and warnings are errors here.
    subprocess.run([sys.executable, "-W", "ignore", "-c", f"from {module} import {name}"], cwd=ROOT, check=True)


def test_the_bento_holds_every_file_that_the_packages_read() -> None:
    """A Bento's source is a plain copy: cards and migrations must be included beside the modules."""
    patterns = bentofile()["include"]
    tracked = [
        path.relative_to(ROOT)
        for package in ("service", "adapters")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix != ".pyc"
    ]
    included = {path.relative_to(ROOT) for pattern in patterns for path in _glob(pattern)}
    assert [str(path) for path in tracked if path not in included] == []


def test_the_bento_installs_what_serves_at_the_pinned_versions() -> None:
    """The Bento's list is the runtime dependencies and the extras cpu, postgres and heic."""
    found = pins()
    wanted = [*DEPENDENCIES, *EXTRAS["cpu"], *EXTRAS["postgres"], *EXTRAS["heic"]]
    listed = [Requirement(line) for line in bentofile()["python"]["packages"]]
    assert {canonicalize_name(r.name): str(r.specifier) for r in listed} == {
        canonicalize_name(r.name): f"=={found[canonicalize_name(r.name)]}" for r in wanted
    }


def test_the_dockerfile_has_both_targets_and_leaves_root() -> None:
    """`serve` installs nothing for training, and neither runs as root."""
    stages = re.split(r"^FROM ", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    named = {stage.split(" AS ")[1].split()[0]: stage for stage in stages if " AS " in stage}
    assert {"serve", "train"} <= set(named)
    # What a setting asks for is there: without `otel` ESPALIER_TRACING would end the start.
    asked_for = EXTRAS.keys() - {"cpu", "gpu", "train", "dev"}
    for target in ("serve", "train"):
        (extras,) = re.findall(r'packages\.sh "([^"]*)"', named[target])
        assert asked_for <= set(extras.split(","))
    assert "train," not in named["serve"] and "FROM base" in f"FROM {named['serve']}"
    # By number: Kubernetes cannot tell that a name is not root's.
    assert all("\nUSER 10001:10001\n" in named[target] for target in ("serve", "train"))


def bentofile() -> dict[str, Any]:
    """bentofile.yaml."""
    content: dict[str, Any] = yaml.safe_load((ROOT / "bentofile.yaml").read_text())
    return content


def _glob(pattern: str) -> list[Path]:
    # In Python 3.11 a trailing `**` means folders; in a bentofile, and from 3.13 on, it means files too.
    return list(ROOT.glob(pattern + "/*" if pattern.endswith("**") else pattern))


def _code(markdown: str) -> str:
    """What stands in code blocks and backticks."""
    return "\n".join(re.findall(r"```.*?```|`[^`\n]+`", markdown, re.DOTALL))
