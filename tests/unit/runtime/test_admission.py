"""Admission counts what is held, refuses what is too much, and forgets what is answered."""

from collections import Counter
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import Overloaded
from adapters.runtime.meters import Meters
from adapters.runtime.queueing.admission import Admission


@dataclass
class Steady:
    """Every image takes so long, and those of a flow wait for so many others."""

    each: float
    ahead: dict[str, int] = field(default_factory=dict)

    def seconds(self, images: int) -> float:
        return images * self.each

    def behind(self, flow: str) -> float:
        return self.seconds(self.ahead.get(flow, 0))


def admission_of(
    max_images: int = 10, max_bytes: int = 100, seconds: float = 0.5, **ahead: int
) -> tuple[Admission, Counter]:
    seen: Counter = Counter()
    meters = Meters(rejected=lambda: seen.update(["rejected"]))
    return Admission(max_images, max_bytes, 2.0, Steady(seconds, ahead), meters), seen


def test_images_are_held_until_the_end_however_that_comes():
    admission, _ = admission_of()
    with pytest.raises(ZeroDivisionError), admission.holding(3, "a"):
        assert admission.load == 3
        raise ZeroDivisionError
    assert admission.load == 0


def test_what_would_only_wait_is_refused_and_told_when_to_come_back():
    admission, seen = admission_of()
    with admission.holding(8, "a"), admission.holding(2, "a"):
        with pytest.raises(Overloaded, match="10 inputs are waiting; try again shortly") as refused:
            admission.holding(6, "a").__enter__()
        assert refused.value.retry_after == 3 and seen["rejected"] == 1 and admission.load == 10


def test_a_request_larger_than_the_bound_is_taken_when_nothing_waits():
    admission, _ = admission_of()
    with admission.holding(1000, "a"):
        assert admission.load == 1000
        with pytest.raises(Overloaded), admission.holding(1, "b"):
            pass
    with admission.holding_bytes() as take:
        take(1000)
        assert admission.bytes == 1000
        with pytest.raises(Overloaded, match="1,000 bytes are waiting"), admission.holding_bytes() as another:
            another(1)
    assert admission.bytes == admission.load == 0


def test_a_flow_that_fills_the_queue_does_not_shut_out_the_others():
    """They are let in with less than their share, to twice the bound in all."""
    admission, _ = admission_of()
    with admission.holding(10, "flood"):
        with pytest.raises(Overloaded), admission.holding(1, "flood"):
            pass
        with admission.holding(4, "b"), admission.holding(1, "b"), admission.holding(3, "c"):
            with pytest.raises(Overloaded), admission.holding(1, "b"):
                pass
            with pytest.raises(Overloaded), admission.holding(3, "d"):
                pass
            with admission.holding(2, "d"), pytest.raises(Overloaded), admission.holding(1, "e"):
                pass
    with admission.holding(10, "b"):
        pass


def test_a_body_that_grows_is_let_go_of_as_a_whole():
    admission, _ = admission_of()
    with admission.holding_bytes() as first:
        first(40)
        with pytest.raises(Overloaded), admission.holding_bytes() as second:
            second(40)
            assert admission.bytes == 80
            second(40)
        assert admission.bytes == 40


def test_a_full_queue_refuses_before_the_body_comes():
    admission, seen = admission_of(seconds=0.001)
    with admission.holding(10, "a"):
        with pytest.raises(Overloaded) as refused, admission.holding_bytes("a"):
            pass
        assert refused.value.retry_after == 1 and seen["rejected"] == 1
        with admission.holding_bytes("b"), admission.holding_bytes(None):  # it may be of another head
            pass
        with admission.holding(5, "b"), admission.holding(3, "c"), admission.holding(2, "d"):
            with pytest.raises(Overloaded), admission.holding_bytes(None):
                pass


def test_images_that_would_wait_too_long_are_refused_and_those_of_a_quiet_flow_are_not():
    admission, seen = admission_of(max_images=1000, flood=7, full=4)
    with admission.holding(1, "flood"):  # nothing else is held: whatever the estimate says
        with pytest.raises(Overloaded, match=r"would wait 3\.5 seconds behind others") as refused:
            admission.holding(1, "flood").__enter__()
        assert refused.value.retry_after == 1.5 and seen["rejected"] == 1
        with pytest.raises(Overloaded), admission.holding_bytes("flood"):
            pass
        with admission.holding(50, "quiet"), admission.holding(1, "full"), admission.holding_bytes(None):
            assert admission.load == 52


def test_nobody_is_told_to_wait_for_ever():
    admission, _ = admission_of(seconds=1e6)
    assert admission.refusal("x", 1e9).retry_after == 60


@given(st.lists(st.tuples(st.floats(0, 5), st.sampled_from("ab")), max_size=20), st.randoms())
def test_whatever_inputs_are_worth_nothing_is_left_when_all_are_answered(requests, random):
    """Sums of floats would leave a trace, and a queue that is never empty again."""
    admission, _ = admission_of(max_images=10**6)
    held = [admission.holding(load, flow) for load, flow in requests]
    for request in held:
        request.__enter__()
    random.shuffle(held)
    for request in held:
        request.__exit__(None, None, None)
    assert (admission.load, admission._flows) == (0.0, {})


def test_heavy_inputs_fill_the_queue_as_many_light_ones_do():
    admission, _ = admission_of(max_images=10)
    with admission.holding(9.5, "a"):
        with admission.holding(0.5, "a"):
            pass
        with pytest.raises(Overloaded, match="10 inputs are waiting"):
            admission.holding(0.75, "a").__enter__()
