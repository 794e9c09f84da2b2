"""`make release-check`: whether this commit can be released, with a sentence for each thing that is in the way.

A release is a tag `vX.Y.Z` with an image, a chart, an entry in the changelog and an upgrade note (docs/releasing.md).
Needs nothing but Python and git.
"""

import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MIGRATIONS = Path("adapters/store/migrations/versions")
NOTE = ("What changes for you", "Tables", "Going back")  # headings of an upgrade note
NUMBER = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")
CHART = re.compile(r"^(version|appVersion): *\"?([^\"\s]+)", re.M)
TAG = re.compile(r"newTag: *\"?([^\"\s]+)")
ENTRY = re.compile(r"^## \[(?P<name>[^\]]+)\](?: - (?P<date>\d{4}-\d{2}-\d{2}))?$(?P<text>.*?)(?=^## |\Z)", re.M | re.S)


def problems(root: Path) -> list[str]:
    """What is in the way of a release, of the version that pyproject.toml names."""
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    return [sentence for check in CHECKS for sentence in check(root, version)]


def _version(root: Path, version: str) -> Iterator[str]:
    if not NUMBER.fullmatch(version):
        yield f"pyproject.toml: {version!r} is not of the form X.Y.Z"
    told = re.search(r'__version__ = "(.*)"', (root / "service/__init__.py").read_text())
    if told is None or told[1] != version:
        yield f"service/__init__.py: __version__ is not {version}"


def _changelog(root: Path, version: str) -> Iterator[str]:
    entries = {match["name"]: match for match in ENTRY.finditer((root / "CHANGELOG.md").read_text())}
    entry = entries.get(version)
    if entry is None or not entry["date"] or "- " not in entry["text"]:
        yield f"CHANGELOG.md: there is no entry '## [{version}] - YYYY-MM-DD' with something in it"
    waiting = entries.get("Unreleased")
    if waiting is not None and "\n- " in waiting["text"]:
        yield "CHANGELOG.md: what is under [Unreleased] belongs to this release"


def _note(root: Path, version: str) -> Iterator[str]:
    path = root / f"docs/upgrades/{version}.md"
    if not path.exists():
        yield f"docs/upgrades/{version}.md: there is no upgrade note; docs/releasing.md has its form"
        return
    text, newest = path.read_text(), _revisions(root)[-1]
    yield from (f"{path.relative_to(root)}: has no heading '## {name}'" for name in NOTE if f"## {name}" not in text)
    if newest not in text:
        yield f"{path.relative_to(root)}: does not name the revision of its tables, {newest}"


def _revisions(root: Path) -> list[str]:
    return sorted(path.stem for path in (root / MIGRATIONS).glob("[0-9]*.py"))


def _migrations(root: Path, version: str) -> Iterator[str]:
    """One after the other, as their names say."""
    before = None
    for name in _revisions(root):
        text = (root / MIGRATIONS / f"{name}.py").read_text()
        follows = re.search(r'^down_revision = (?:"(.*)"|None)$', text, re.M)
        if f'revision = "{name}"' not in text or follows is None or follows[1] != before:
            yield f"{MIGRATIONS / name}.py: does not follow {before or 'nothing'} under its own name"
        before = name


def _deployed(root: Path, version: str) -> Iterator[str]:
    """The chart and the manifests say the same version."""
    for path in sorted((root / "deploy").rglob("Chart.yaml")):
        told = dict(CHART.findall(path.read_text()))
        yield from (f"{path.relative_to(root)}: {key} is {told.get(key)}, not {version}"
                    for key in ("version", "appVersion") if told.get(key) != version)  # fmt: skip
    for path in sorted((root / "deploy").rglob("*.yaml")):
        yield from (f"{path.relative_to(root)}: newTag is {tag}, not {version}"
                    for tag in TAG.findall(path.read_text()) if tag != version)  # fmt: skip
    if not list((root / "deploy").rglob("Chart.yaml")):
        yield "deploy: there is no chart"


def _git(root: Path, version: str) -> Iterator[str]:
    """Nothing is left out, and a tag of that name is this commit."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True).stdout.strip()

    if git("status", "--porcelain"):
        yield "git: there are changes that are not committed"
    tagged = git("rev-list", "-n", "1", f"v{version}", "--")
    if tagged and tagged != git("rev-parse", "HEAD"):
        yield f"git: v{version} is the tag of another commit; a release has a version of its own"


CHECKS: tuple[Callable[[Path, str], Iterator[str]], ...] = (
    _version, _changelog, _note, _migrations, _deployed, _git,
)  # fmt: skip

if __name__ == "__main__":
    found = problems(ROOT)
    print("\n".join(found) or "ready: tag it, as docs/releasing.md says")
    sys.exit(bool(found))
