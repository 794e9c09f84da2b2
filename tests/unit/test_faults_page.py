"""The column of results in docs/reference/faults.md is filled from a run, and only from what ran."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "docs" / "reference"
RUN = """<testsuites><testsuite>
  <testcase classname="tests.faults.test_kills" name="test_nothing_is_lost[1]"/>
  <testcase classname="tests.faults.test_kills" name="test_nothing_is_lost[2]"><skipped message="no root"/></testcase>
  <testcase classname="tests.e2e.test_limits" name="test_slow"><failure message="no">...</failure></testcase>
  <testcase classname="tests.e2e.test_limits" name="test_ended"><error message="at its end">...</error></testcase>
</testsuite></testsuites>"""


@pytest.fixture(scope="module")
def writer():
    spec = importlib.util.spec_from_file_location("write_faults", FOLDER / "write_faults.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_cases_of_a_test_are_counted_together(writer, tmp_path):
    (tmp_path / "run.xml").write_text(RUN)
    found = writer.outcomes(tmp_path / "run.xml")
    assert found["tests/faults/test_kills.py", "test_nothing_is_lost"] == Counter(passed=1, skipped=1)
    assert found["tests/e2e/test_limits.py", "test_slow"] == Counter(failed=1)
    assert found["tests/e2e/test_limits.py", "test_ended"] == Counter(failed=1)


@pytest.mark.parametrize(
    "counts, told",
    [
        (Counter(passed=1), "holds"),
        (Counter(passed=3, skipped=2), "holds, 3 cases, 2 could not run there"),
        (Counter(passed=8, failed=1), "**does not hold**: 1 of 9 failed"),
        (Counter(skipped=1), "could not run there"),
        (Counter(), "not run"),
    ],
)
def test_a_row_holds_only_where_a_case_ran_and_none_failed(writer, counts, told):
    assert writer.result(counts) == told


def test_every_row_of_the_page_gets_its_result_and_the_page_says_of_which_run(writer):
    before = (FOLDER / "faults.md").read_text()
    rows = [line for line in before.splitlines() if "::" in line]
    after = writer.page(before, {}, "`make faults` on a day")
    assert [line.rpartition("` |")[0] for line in after.splitlines() if "::" in line] == [
        line.rpartition("` |")[0] for line in rows
    ]
    assert after.count("` | not run |") == len(rows) and "is what `make faults` on a day showed" in after
    assert writer.page(after, {}, "`make faults` on a day") == after
