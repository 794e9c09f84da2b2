"""Runs of a deep head on a GPU: who asks while it runs shares the next run, and is told what its own would say."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.deep import SHAPE, TinyCut
from support.graphs import DIMENSION
from support.services import eventually

from adapters.runtime.heads import deep_session
from adapters.runtime.heads.gathered import Gathered
from adapters.runtime.heads.head import DeepHead, Head
from adapters.runtime.heads.pairs import Pairs

CALLERS = 12


class Slow:
    """Doubles what it is given, once it may; negative numbers are too much for it."""

    def __init__(self) -> None:
        self.may, self.sizes = threading.Event(), list[int]()

    def __call__(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        self.sizes.append(len(rows))
        assert self.may.wait(60)
        if (rows < 0).any():
            raise ValueError("negative")
        return {"twice": 2 * rows}


def asked_while_it_runs(run: Slow, *later: np.ndarray) -> list[np.ndarray | Exception]:
    """What callers get who come during a first run of one input."""
    gathered = Gathered(run, sizes=(1, 2, 4, 8))

    def ask(rows: np.ndarray) -> np.ndarray | Exception:
        try:
            return gathered(rows)["twice"]
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(later) + 1) as pool:
        first = pool.submit(ask, np.ones((1, 1)))
        eventually(lambda: run.sizes == [1])
        told = []
        for rows in later:
            waiting = len(gathered._waiting)
            told.append(pool.submit(ask, rows))
            eventually(lambda waiting=waiting: len(gathered._waiting) == waiting + 1)
        run.may.set()
        return [first.result(60), *(each.result(60) for each in told)]


def test_who_comes_while_it_runs_shares_the_next_run_which_is_padded():
    run = Slow()
    said = asked_while_it_runs(run, *(np.full((1, 1), float(n)) for n in range(5)))
    assert run.sizes == [1, 8]
    assert [float(each[0, 0]) for each in said] == [2.0, 0.0, 2.0, 4.0, 6.0, 8.0]


def test_several_inputs_of_a_caller_stay_together():
    run = Slow()
    said = asked_while_it_runs(run, np.ones((3, 1)), 2 * np.ones((4, 1)), 3 * np.ones((5, 1)), 4 * np.ones((9, 1)))
    assert run.sizes == [1, 8, 8, 9]
    assert [each[:, 0].tolist() for each in said[1:]] == [[2.0] * 3, [4.0] * 4, [6.0] * 5, [8.0] * 9]


def test_inputs_that_cannot_be_run_fail_for_who_brought_them_alone():
    run = Slow()
    first, good, bad, other = asked_while_it_runs(run, np.ones((1, 1)), -np.ones((1, 1)), 3 * np.ones((1, 1)))
    assert isinstance(bad, ValueError)
    assert [float(each[0, 0]) for each in (first, good, other)] == [2.0, 2.0, 6.0]


def test_after_a_run_that_failed_it_runs_again():
    run = Slow()
    run.may.set()
    gathered = Gathered(run)
    with pytest.raises(ValueError, match="negative"):
        gathered(-np.ones((1, 1)))
    assert gathered(np.ones((1, 1)))["twice"].tolist() == [[2.0]]


@pytest.mark.parametrize("cut", [TinyCut("float32"), TinyCut("uint8"), TinyCut("float32", beside=DIMENSION)], ids=str)
def test_a_head_says_the_same_as_without(cut):
    """Twelve at a time, of one to three inputs each; the session is the CPU's, as there is no other here."""
    graph, random = cut.head(3), np.random.default_rng(0)
    plain = Head.from_bytes(graph)
    tensor = deep_session.POOLED_BESIDE if cut.beside else deep_session.POOLED
    head = DeepHead(deep_session.opened(graph, tensor)[0], tensor, plain.metadata, 0, "cuda")

    def read(count: int):
        taps = random.integers(0, 9, (count, *SHAPE)).astype(cut.dtype)
        return Pairs(taps, random.normal(size=(count, DIMENSION)).astype(np.float32)) if cut.beside else taps

    asked = [read(1 + n % 3) for n in range(5 * CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool:
        said = list(pool.map(head.answer, asked))
    for rows, mine in zip(asked, said, strict=True):
        wanted = plain.answer(rows)
        assert mine.arrays.keys() == wanted.arrays.keys()
        for name, array in wanted.arrays.items():
            np.testing.assert_allclose(mine.arrays[name], array, atol=1e-6)
        np.testing.assert_allclose(mine.pooled, wanted.pooled, atol=1e-5)
