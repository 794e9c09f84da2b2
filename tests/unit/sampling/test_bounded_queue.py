"""The way from an answer to the database: never waits, bounded, and loses samples rather than answers."""

from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa

from adapters.monitoring import sampler as module
from adapters.monitoring.sampler import Sampler
from adapters.runtime.heads.head import HeadAnswers
from adapters.runtime.meters import Meters


class Counted(dict):
    def add(self, outcome: str, count: int) -> None:
        self[outcome] = self.get(outcome, 0) + count


@pytest.fixture
def counted() -> Counted:
    return Counted()


@pytest.fixture
def sampler(counted, tmp_path) -> Sampler:
    """With a database that is not there: its file cannot be opened."""
    engine = sa.create_engine(f"sqlite:///{tmp_path}/none/none.sqlite")
    return Sampler(engine, None, meters=Meters(sampled=counted.add), most_bytes=1000)


def head(name: str) -> SimpleNamespace:
    version = SimpleNamespace(head=name, number=1)
    return SimpleNamespace(version=version, task="classification", classes=("x", "y"), backbone_digest="b", deep=None)


def ask(sampler: Sampler, name: str, count: int = 1, size: int = 10, sure: bool = False) -> None:
    asked, output = head(name), np.tile(np.float32([0.99, 0.01] if sure else [0.5, 0.5]), (count, 1))
    said = [SimpleNamespace(index=n, head=asked, answer={"label": "x"}) for n in range(count)]
    images = [memoryview(b"x" * size) for _ in range(count)]
    embedded = {"b": np.ones((count, 4), np.float32)}
    sampler.saw([asked], [HeadAnswers({"probabilities": output})], said, embedded.__getitem__, images)


def test_only_heads_that_are_on_and_answers_that_are_hard_are_handed_in(sampler):
    ask(sampler, "cats")
    sampler.heads = frozenset({"cats"})
    ask(sampler, "dogs")
    ask(sampler, "cats", sure=True)
    assert sampler._queue.items == []
    ask(sampler, "cats")
    assert len(sampler._queue.items) == 1 and isinstance(sampler._queue.items[0].data, bytes), "the form's end is near"


def test_beyond_its_bounds_inputs_are_dropped_and_counted(sampler, counted):
    sampler.heads = frozenset({"cats", "dogs"})
    ask(sampler, "cats", module.MOST_OF_HEAD + 5)
    assert len(sampler._queue.items) == module.MOST_OF_HEAD and counted == {"queue_full": 5}
    ask(sampler, "dogs", 3)
    assert len(sampler._queue.items) == module.MOST_OF_HEAD + 3, "one head does not take the places of another"
    ask(sampler, "dogs", 1, size=2000)
    assert counted == {"queue_full": 6}, "more bytes than may wait"


def test_a_database_that_is_away_loses_samples_and_nothing_else(sampler, counted):
    sampler.heads = frozenset({"cats"})
    ask(sampler, "cats", 2)
    sampler.look()
    assert counted == {"failed": 2} and sampler._queue.items == [] and sampler.heads == {"cats"}
    sampler.close()
