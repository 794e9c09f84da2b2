"""Write what a run of the fault tests showed into docs/reference/faults.md, a result for each row.

    make faults ARGS=--junitxml=faults.xml
    python docs/reference/write_faults.py faults.xml

A row holds where none of its test's cases failed and one at least ran; cases that could not run there are counted.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from benchmarks import record

PAGE = Path(__file__).parent / "faults.md"
TOLD = re.compile(r"The column `result` is [^\n]*\n(?:[^\n]+\n)*")
ROW = re.compile(r"^(\|.*`(tests/\S+)::(\w+)` \|)[^|]*\|$", re.MULTILINE)
SAID = """The column `result` is what {about} showed
(`python docs/reference/write_faults.py`). What holds of the code you have is what `make faults` prints, a line for each
test that fails or was skipped; `.ci/run` calls it for `tests/faults`, and runs the other rows among all tests. Where a
row needs something that a machine may not have (root, PostgreSQL, strace, faketime), its test is skipped there.
"""
Outcomes = Mapping[tuple[str, str], Counter[str]]  # (file, test) → how many cases passed, failed, were skipped


def outcomes(report: Path) -> Outcomes:
    """What a JUnit file of pytest says of each test, all of its cases together."""
    found: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for case in ElementTree.parse(report).iter("testcase"):
        file = case.get("classname", "").replace(".", "/") + ".py"
        kinds = {child.tag for child in case}
        end = "failed" if kinds & {"failure", "error"} else "skipped" if "skipped" in kinds else "passed"
        found[file, case.get("name", "").partition("[")[0]][end] += 1
    return found


def result(counts: Counter[str]) -> str:
    """A row's cell: of a test, or of its cases where there are several."""
    if counts["failed"]:
        return f"**does not hold**: {counts['failed']} of {counts.total()} failed"
    if not counts["passed"]:
        return "not run" if not counts else "could not run there"
    cases = f", {counts['passed']} cases" if counts["passed"] > 1 else ""
    return f"holds{cases}" + (f", {counts['skipped']} could not run there" if counts["skipped"] else "")


def page(text: str, found: Outcomes, about: str) -> str:
    """The page with these results in its rows, and where they come from above."""
    text = TOLD.sub(lambda _: SAID.format(about=about), text, count=1)
    return ROW.sub(lambda row: f"{row[1]} {result(found.get((row[2], row[3]), Counter()))} |", text)


if __name__ == "__main__":
    day = datetime.now(UTC).date().isoformat()
    about = f"`make faults` on {day}, commit {record.commit()}, {record.machine()}"
    PAGE.write_text(page(PAGE.read_text(), outcomes(Path(sys.argv[1])), about))
