"""Tables and plots of docs/benchmarks.md hold what results say."""

import xml.etree.ElementTree as ElementTree

from benchmarks import plots, report

ROW = {"median": 2.0, "min": 1.0, "max": 3.0, "repetitions": 3}
ABOUT = {"versions": {"a": "1"}, "machine": "m", "commit": "c", "date": "d", "python": "3"}


def test_a_row_stands_beside_its_limit_and_notes_above():
    results = {"x": {"speed": ROW, "wins": 15}, "limits": {"x: speed": 4.0}, "notes": {"Peers": "p==1"}}
    section = report._section("trial", ABOUT, results)
    assert "| x: speed | 2 | 1 – 3 | 4.0 |" in section and "Peers: p==1" in section
    assert "| x: wins | 15 |  |  |" in section
    assert "| limits" not in section and "| notes" not in section


def test_plots_are_xml_with_every_bar():
    for name, results in {
        "peers": {"espalier": {"images_per_second_1": ROW}, "a & b": {"images_per_second_50": ROW}, "limits": {}},
        "heads": {"images_per_second_1": ROW, "images_per_second_100": ROW, "limits": {}},
        "matrix": {"small: ratio": ROW, "large: ratio": ROW, "small: p99_ms": ROW, "limits": {}},
    }.items():
        drawn = ElementTree.fromstring(plots.PLOTS[name](results))
        assert len(drawn.findall(".//{http://www.w3.org/2000/svg}line")) == 2, name
