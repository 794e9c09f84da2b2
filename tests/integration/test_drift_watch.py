"""What a process knows of drifting versions is bounded by heads that are asked, not by how often they are taught."""

from collections import Counter

import pytest
from sqlalchemy.engine import Engine
from support.published import publish

from adapters.monitoring import watch
from adapters.monitoring.watch import MOST_OF_HEAD, DriftWatch
from adapters.store import heads


@pytest.fixture
def drift(engine: Engine) -> DriftWatch:
    return DriftWatch(engine)


def teach(engine: Engine, drift: DriftWatch, head: str, times: int) -> Counter:
    """Each version is asked something and looked at before the next takes its place."""
    found: Counter = Counter()
    for number in range(1, times + 1):
        assert publish(engine, head, "ab", number - 1 or None) == number
        drift.asked([(head, number)])
        found = drift.look()
    return found


def versions(found: Counter) -> int:
    """That count; none of these has a reference to drift from."""
    assert found["labels", "unknown"] == found["novelty", "unknown"]
    return found["labels", "unknown"]


def test_of_a_head_that_is_taught_again_and_again_the_last_few_versions_count(engine, drift):
    assert versions(teach(engine, drift, "cats", 3)) == 3
    assert versions(teach(engine, drift, "dogs", MOST_OF_HEAD + 3)) == 3 + MOST_OF_HEAD


def test_a_version_that_is_asked_counts_however_many_came_after(engine, drift):
    teach(engine, drift, "cats", 2 * MOST_OF_HEAD)
    drift.asked([("cats", 1), ("cats", 2)])
    assert versions(drift.look()) == MOST_OF_HEAD
    assert {number for _, number in drift._levels} == {1, 2, 2 * MOST_OF_HEAD - 1, 2 * MOST_OF_HEAD}


def test_a_deleted_head_counts_no_more_though_nobody_asks_for_it(engine, drift):
    teach(engine, drift, "cats", 2)
    assert versions(teach(engine, drift, "dogs", 1)) == 3
    heads.delete(engine, "cats")
    assert versions(drift.look()) == 1
    heads.delete(engine, "dogs")
    assert not drift.look() and not drift._levels


def test_of_many_heads_those_count_that_were_looked_at_last(engine, drift, monkeypatch):
    for name in "abcd":
        teach(engine, drift, name, 1)
    monkeypatch.setattr(watch, "MOST", 2)
    assert versions(drift.look()) == 2
    assert [name for name, _ in drift._levels] == ["c", "d"]
