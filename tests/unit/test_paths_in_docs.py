"""Files and modules that the documentation names are there, under the names that it gives them."""

import re
from pathlib import Path

import pytest
from support.services import ROOT

PAGES = [*sorted((ROOT / "docs").rglob("*.md")), ROOT / "README.md"]
FILE = re.compile(r"`([\w.-]+(?:/[\w.-]+)+\.py)(?:::\w+)?`")
MODULE = re.compile(r"`((?:service|adapters)(?:\.[a-z_]+)+)`")
WITHIN = ("", "service/", "adapters/", "adapters/training/")  # folders that a path may leave out
OF_OTHERS = ("_bentoml_impl/",)


def _is_there(module: str) -> bool:
    """A module, or something in one."""
    parent, _, name = module.rpartition(".")
    path = ROOT / parent.replace(".", "/")
    text = next((p.read_text() for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), "")
    return (path / name).is_dir() or (path / f"{name}.py").is_file() or re.search(rf"\b{name}\b", text) is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text()
    files = {name for name in FILE.findall(text) if not name.startswith(OF_OTHERS)}
    lost = {name for name in files if not any((ROOT / f"{folder}{name}").is_file() for folder in WITHIN)}
    assert lost == set() and {name for name in MODULE.findall(text) if not _is_there(name)} == set()


def test_the_patterns_find_what_they_are_for() -> None:
    named = FILE.findall("see `service/api/finetune.py` and `tests/a/b.py::test_c`")
    assert named == ["service/api/finetune.py", "tests/a/b.py"]
    assert MODULE.findall("`service.wire` and `adapters.types.Job`") == ["service.wire"]
    assert _is_there("service.wire") and _is_there("adapters.store") and not _is_there("service.nowhere")
