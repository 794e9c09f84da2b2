"""`.ci/advisories.py` finds the holes that a folder of advisories has of a version, and no others."""

import importlib.util
import subprocess
import sys

import httpx
import pytest
import yaml
from support.services import ROOT


def _module():
    spec = importlib.util.spec_from_file_location("advisories", ROOT / ".ci" / "advisories.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ADVISORIES = _module()


def advisory(number, *events, package="Odd_Name", ecosystem="PyPI", kind="ECOSYSTEM", **more):
    ranges = [{"type": kind, "events": list(events)}] if events else []
    affected = {"package": {"name": package, "ecosystem": ecosystem}, "ranges": ranges, **more}
    return {"id": f"PYSEC-2024-{number}", "modified": "2024-10-09T00:00:00Z", "affected": [affected]}


KNOWN = [
    advisory(1, {"introduced": "0"}, {"fixed": "1.10"}),
    advisory(2, {"fixed": "2.0rc2"}, {"introduced": "1.9"}),  # in any order
    advisory(3, {"introduced": "1.0"}, {"last_affected": "1.2"}, {"introduced": "3.0"}),
    advisory(4, versions=["1.5", "no-version", "1.10.0"]),
    advisory(5, {"introduced": "0"}, {"fixed": "abcdef"}, kind="GIT"),
    advisory(6, {"introduced": "0"}, package="other"),
    advisory(7, {"introduced": "0"}, ecosystem="npm"),
]


@pytest.fixture
def folder(tmp_path):
    place = tmp_path / "vulns" / "odd-name"
    place.mkdir(parents=True)
    for each in KNOWN:
        (place / f"{each['id']}.yaml").write_text(yaml.safe_dump(each))
    return tmp_path


@pytest.mark.parametrize(("version", "wanted"), {
    "0.1": "1", "1.1": "13", "1.2": "13", "1.2.post1": "1", "1.5": "14", "1.9": "12", "1.10": "24", "1.10rc1": "12",
    "2.0rc1": "2", "2.0": "", "3.0": "3",
}.items())  # fmt: skip
def test_ranges_are_read_as_versions_and_not_as_text(folder, version, wanted):
    found = ADVISORIES.affecting(folder, "odd-name", version)
    assert "".join(each["id"][-1] for each in found) == wanted
    assert all(each["affected"][0]["package"]["name"] == "odd-name" for each in found), "as pip-audit compares it"


def test_a_range_that_cannot_be_read_is_one_too_many(folder):
    odd = advisory(8, {"introduced": "0"}, {"fixed": "r17"})
    (folder / "vulns" / "odd-name" / "PYSEC-2024-8.yaml").write_text(yaml.safe_dump(odd))
    assert [each["id"] for each in ADVISORIES.affecting(folder, "odd-name", "9")][-1] == "PYSEC-2024-8"


def test_it_answers_as_osv_does(folder):
    url = ADVISORIES.serving(folder)
    asked = {"package": {"name": "odd-name", "ecosystem": "PyPI"}, "version": "2.0rc1"}
    assert [each["id"] for each in httpx.post(url, json=asked).json()["vulns"]] == ["PYSEC-2024-2"]
    assert httpx.post(url, json=asked | {"version": "2.0"}).json() == {}
    assert httpx.post(url, json=asked | {"package": {"name": "unknown"}}).json() == {}


def test_a_command_is_told_where_to_ask_and_its_end_is_ours(folder, tmp_path):
    command = [sys.executable, ROOT / ".ci" / "advisories.py"]
    asks = "import sys; print(sys.argv[1:3]); sys.exit(not sys.argv[4].endswith('/v1/query'))"
    for code, last in ((0, []), (7, ["-c", "raise SystemExit(7)"])):
        said = [*command, folder, sys.executable, *(last or ["-c", asks])]
        done = subprocess.run(said, capture_output=True, text=True, timeout=60)
        assert done.returncode == code and "advisories of 2024-10-09 and before" in done.stdout, done.stderr
    assert subprocess.run([*command, tmp_path / "empty", "true"], timeout=60).returncode == 3
