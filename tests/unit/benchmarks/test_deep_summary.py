"""What the benchmark of deep versions makes of its rows."""

import pytest

from benchmarks.deep import summary

ACCURACY = {"pooled": 0.90, "taps": 0.95, "shallow": 0.94, "blocks.5": 0.96, "blocks.4": 0.98, "all": 0.99,
            "auto": 0.975, "fine_tune": 0.9, summary.LONGEST: 0.97}  # fmt: skip
SECONDS = {"blocks.5": 100.0, "blocks.4": 300.0, "all": 900.0, "auto": 150.0, summary.LONGEST: 1000.0}


def rows(data: str = "gtsrb", seeds: int = 2, **accuracy: float) -> list[summary.Row]:
    """A row for each way and seed."""
    said = ACCURACY | accuracy
    return [
        {"data": data, "shots": "full", "seed": seed, "way": way, "loss": 1 - value, "ece": 0.01,
         "accuracy": value, "seconds": SECONDS.get(way, 5.0)}
        for seed in range(seeds) for way, value in said.items()
    ]  # fmt: skip


def test_every_limit_has_a_figure_where_its_ways_were_measured():
    found = summary.results(rows())
    gaps = {"gtsrb: gap closed": summary.GAP, "gtsrb: gap closed by auto": summary.GAP}
    assert found["limits"] == summary.LIMITS | gaps
    assert all("median" in found[name] for name in found["limits"])


def test_of_one_seed_there_is_a_difference_and_no_interval():
    names = [name for name in summary.results(rows(seeds=1)) if "less" in name]
    assert "gtsrb, full, auto: accuracy, less shallow's (+0.0350)" in names
    assert not any("±" in name or "nan" in name for name in names)


def test_a_limit_without_its_ways_is_not_there():
    """Of other data than the signs only what is said of any."""
    found = summary.results(rows("digits"))
    gaps = {"digits: gap closed", "digits: gap closed by auto"}
    assert set(found["limits"]) == {"accuracy kept by auto, at least"} | gaps
    assert found["limits"]["digits: gap closed"] == summary.GAP
    assert found["digits: gap closed"]["median"] == pytest.approx(0.75)


def test_the_gap_is_from_the_best_head_to_all_layers_and_a_slow_cut_does_not_count():
    """0.95 → 0.99, and a third of 900 s lets blocks.4 in at 300 s, but not at 301."""
    assert summary.results(rows())["gtsrb: gap closed"]["median"] == pytest.approx(0.75)
    assert summary.results(rows())["gtsrb: gap closed by auto"]["median"] == pytest.approx(0.625)
    slow = [row | ({"seconds": 301.0} if row["way"] == "blocks.4" else {}) for row in rows()]
    assert summary.results(slow)["gtsrb: gap closed"]["median"] == pytest.approx(0.25)
    assert "gtsrb: gap closed" not in summary.results(rows(all=0.95)), "where all layers bring nothing, there is no gap"


def test_the_gain_of_auto_is_the_lower_end_of_its_interval_over_all_rows():
    """Pairs of +3.5 points and of −1.0: a mean of 1.25 ± 2.55, of which 1 is what would be no change."""
    worse = rows("digits", auto=0.93)
    found = summary.results([*rows(), *worse])["accuracy kept by auto, at least"]["median"]
    assert found == pytest.approx(1 + (1.25 - 1.96 * 2.598 / 2) / 100, abs=1e-4)


def test_differences_are_paired_by_seed():
    mixed = [row | {"accuracy": row["accuracy"] + 0.01 * row["seed"]} for row in rows()]
    less = summary.results(mixed)["gtsrb, full, auto: accuracy, less shallow's (+0.0350 ± 0.0000)"]
    assert less["min"] == pytest.approx(0.035) == less["max"] and less["repetitions"] == 2
