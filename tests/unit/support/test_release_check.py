"""`make release-check` finds each thing that is in the way of a release, and nothing in a release that is one."""

import importlib.util
import re
import subprocess
from pathlib import Path

import pytest
from support.services import ROOT


def _module():
    spec = importlib.util.spec_from_file_location("release_check", ROOT / ".ci" / "release_check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


CHECK = _module()
FILES = {
    "pyproject.toml": '[project]\nversion = "1.2.0"\n',
    "service/__init__.py": '__version__ = "1.2.0"\n',
    "CHANGELOG.md": "# Changelog\n\n## [Unreleased]\n\n## [1.2.0] - 2026-12-01\n\n- x\n\n## [1.1.0] - 2026-01-01\n",
    "docs/upgrades/1.2.0.md": "# Upgrading\n## What changes for you\n## Tables\n0002_second\n## Going back\n",
    "adapters/store/migrations/versions/0001_first.py": 'revision = "0001_first"\ndown_revision = None\n',
    "adapters/store/migrations/versions/0002_second.py": 'revision = "0002_second"\ndown_revision = "0001_first"\n',
    "deploy/helm/espalier/Chart.yaml": 'version: 1.2.0\nappVersion: "1.2.0"\n',
    "deploy/kubernetes/base/kustomization.yaml": "images:\n  - name: x\n    newTag: 1.2.0\n",
}


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """A repository that could be released."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    name = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", *name, *arguments], cwd=root, check=True, capture_output=True)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "x")


def test_a_release_is_one_before_and_after_its_tag(release):
    assert CHECK.problems(release) == []
    git(release, "tag", "v1.2.0")
    assert CHECK.problems(release) == []


WRONG = {
    "pyproject.toml": ('"1.2.0"', '"1.2"', "not of the form"),
    "service/__init__.py": ("1.2.0", "1.1.0", "__version__ is not 1.2.0"),
    "CHANGELOG.md": (" - 2026-12-01", "", "no entry '## [1.2.0]"),
    "docs/upgrades/1.2.0.md": ("0002_second", "", "does not name the revision of its tables, 0002_second"),
    "adapters/store/migrations/versions/0002_second.py": ('"0001_first"', '"0000"', "does not follow 0001_first"),
    "deploy/helm/espalier/Chart.yaml": ('"1.2.0"', '"1.1.0"', "appVersion is 1.1.0, not 1.2.0"),
    "deploy/kubernetes/base/kustomization.yaml": ("1.2.0", "latest", "newTag is latest, not 1.2.0"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_in_the_way_is_said(release, name):
    right, wrong, said = WRONG[name]
    (release / name).write_text(FILES[name].replace(right, wrong))
    commit(release)
    assert any(said in sentence for sentence in CHECK.problems(release)), CHECK.problems(release)


def test_what_waits_for_a_release_belongs_to_it(release):
    (release / "CHANGELOG.md").write_text(FILES["CHANGELOG.md"].replace("[Unreleased]\n", "[Unreleased]\n\n- new\n"))
    commit(release)
    assert CHECK.problems(release) == ["CHANGELOG.md: what is under [Unreleased] belongs to this release"]


def test_a_tag_is_never_moved_and_nothing_is_left_out(release):
    git(release, "tag", "v1.2.0")
    (release / "new").write_text("x")
    assert CHECK.problems(release) == ["git: there are changes that are not committed"]
    commit(release)
    assert [s for s in CHECK.problems(release) if "tag of another commit" in s]


def test_the_migrations_of_this_commit_follow_each_other_as_their_names_say():
    assert list(CHECK._migrations(ROOT, "")) == []


def test_the_form_in_the_guide_is_what_is_asked_for():
    form = (ROOT / "docs" / "releasing.md").read_text()
    assert tuple(re.findall(r"^## (.*)$", form.partition("```\n")[2], re.M)) == CHECK.NOTE
