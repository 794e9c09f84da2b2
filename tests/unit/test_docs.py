"""The documents say what is: reference pages are written from the code, and every name in them exists."""

import ast
import importlib.util
import re
import subprocess
from pathlib import Path

import pytest

from adapters import methods, tasks

ROOT = Path(__file__).resolve().parents[2]
PAGES = [*ROOT.glob("docs/**/*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]


def _writer():
    spec = importlib.util.spec_from_file_location("write", ROOT / "docs" / "reference" / "write.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["settings.md", "errors.md", "routes.md", "metrics.md", "methods.md"])
def test_a_reference_page_is_what_the_code_says(name):
    written = (ROOT / "docs" / "reference" / name).read_text()
    assert written == _writer().PAGES[name](), "run: python docs/reference/write.py"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_nobody_is_told_to_install_a_strangers_package():
    """Espalier is in no index (`Private :: Do Not Upload`): who asks one for that name gets what somebody put there."""
    by_name = re.compile(r"\b(?:pip|pipx|uv|uvx) (?:\w+ )*(?:-\S+ )*['\"]?espalier(?:\[|['\"\s`]|$)", re.MULTILINE)
    assert all(
        map(by_name.search, ["pip install espalier", "pip install 'espalier[otel]'", "uv pip install -U espalier"])
    )
    assert not by_name.search("pip install -c constraints.txt -e '.[otel]'")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    files = [ROOT / name for name in listed.split("\0") if name and ROOT / name != Path(__file__).resolve()]
    texts = {path: path.read_text(errors="replace") for path in files if path.is_file()}
    assert [str(path) for path, text in texts.items() if by_name.search(text)] == []


def test_the_glossary_has_every_task_and_method():
    glossary = (ROOT / "docs" / "glossary.md").read_text()
    for name in [*tasks.names(), *methods.names()]:
        assert name in glossary


def _tests_in(file):
    """Names of the test functions of a file."""
    return set(re.findall(r"^def (test_\w+)", (ROOT / file).read_text(), re.MULTILINE))


def _compares_no_history(file):
    """Names of the tests of a file of tests/faults that neither take a fixture which does it nor do it themselves."""
    functions = [node for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)]
    return {
        node.name for node in functions if node.name.startswith("test_")
        and not {"checked", "whole"} & {arg.arg for arg in node.args.args}
        and not re.search(r"recorder\.check\(\)|check_history\(|violations_of_history", ast.unparse(node))
    }  # fmt: skip


def test_the_page_of_faults_lists_the_tests_after_which_no_history_is_compared():
    page = (ROOT / "docs/reference/faults.md").read_text()
    (listed,) = re.findall(r"These do not:\n(.*)\nThree compare", page, re.DOTALL)
    files = (ROOT / "tests" / "faults").glob("test_*.py")
    assert set(re.findall(r"`(test_\w+)`", listed)) == set().union(*map(_compares_no_history, files))


def test_each_fault_is_shown_by_a_test_and_each_test_of_faults_is_in_the_table():
    """A row that nobody could run would be a promise, and a test that is in no row would be found by nobody."""
    lines = (ROOT / "docs/reference/faults.md").read_text().splitlines()
    rows = [line.split("|")[1:-1] for line in lines if "::" in line]
    assert all(len(row) == 5 and all(cell.strip() for cell in row) for row in rows)
    shown = [row[3].strip(" `").split("::") for row in rows]
    for file, name in shown:
        assert (ROOT / file).exists() and name in _tests_in(file), f"{file}::{name}"
    files = [str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "faults").glob("test_*.py")]
    assert {(file, name) for file in files for name in _tests_in(file)} <= {(file, name) for file, name in shown}
