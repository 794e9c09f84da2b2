"""Tables and plots of docs/benchmarks.md hold what results say."""

import json
import xml.etree.ElementTree as ElementTree

from benchmarks import goals, overload, plots, record, report

ROW = {"median": 2.0, "min": 1.0, "max": 3.0, "repetitions": 3}
ABOUT = {"versions": {"a": "1"}, "machine": "m", "commit": "c", "date": "d", "python": "3"}


def test_a_row_stands_beside_its_limit_and_notes_above():
    results = {"x": {"speed": ROW, "wins": 15}, "limits": {"x: speed": 4.0}, "notes": {"Peers": "p==1"}}
    section = report._page("trial", ABOUT, results)
    assert "| x: speed | 2 | 1 – 3 | 4.0 |" in section and "Peers: p==1" in section
    assert "| x: wins | 15 |  |  |" in section
    assert "| limits" not in section and "| notes" not in section


def test_plots_are_xml_with_every_bar():
    for name, results in {
        "peers": {"espalier": {"images_per_second_1": ROW}, "a & b": {"images_per_second_50": ROW}, "limits": {}},
        "adaptation": {
            "notes": {"auto against LDA": "accuracy +0.1, log-loss -1", "auto against kNN": "accuracy +0.2"}
        },
        "heads": {"images_per_second_1": ROW, "images_per_second_100": ROW, "limits": {}},
        "matrix": {"small: ratio": ROW, "large: ratio": ROW, "small: p99_ms": ROW, "limits": {}},
    }.items():
        drawn = ElementTree.fromstring(plots.PLOTS[name](results))
        assert len(drawn.findall(".//{http://www.w3.org/2000/svg}line")) == 2, name


def test_every_goal_is_a_row_of_a_result_with_a_limit():
    stored = {path.stem: json.loads(path.read_text())["results"] for path in record.RESULTS.glob("*.json")}
    assert [one.goal for one in goals.met(stored)] == list(goals.GOALS)


def test_the_overload_is_called_what_it_is():
    (goal,) = [goal for goal in goals.GOALS if goal.result == "overload"]
    assert {2: "twice", 4: "four times"}[overload.TIMES] in goal.what


def test_a_result_of_one_seed_is_shown_without_the_interval_that_it_has_not():
    assert "| x (+0.1) | 2 |" in report._page("trial", ABOUT, {"x (+0.1 ± nan)": ROW})


def test_a_goal_is_kept_in_its_own_sense():
    for sense, limit, kept, middle in (
        ("≥", 1.0, True, 2),
        ("≥", 4.0, False, 0.5),
        ("≤", 4.0, True, 2),
        ("≤", 1, False, 0.5),
    ):
        one = goals.Met(goals.Goal("a", "b", "c", sense), limit, ROW)
        assert one.kept is kept and one.shares["median"] == middle
        assert one.shares["min"] <= one.shares["median"] <= one.shares["max"]
    nothing = {"median": 0.0, "min": 0.0, "max": 0.0}
    assert goals.Met(goals.Goal("a", "b", "c", "≤"), 0, nothing).kept
    assert not goals.Met(goals.Goal("a", "b", "c", "≤"), 0, ROW).kept


def test_the_first_page_is_what_results_say():
    """Whoever records a result writes the page, too."""
    stored = {path.stem: json.loads(path.read_text()) for path in sorted(record.RESULTS.glob("*.json"))}
    page = report.PAGE.read_text()
    assert all(report._goal(one) in page for one in goals.met({name: one["results"] for name, one in stored.items()}))
    assert {path.stem for path in report.ROWS.glob("*.md")} == set(stored)
    assert len(page.splitlines()) < 110
