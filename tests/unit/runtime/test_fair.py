"""Flows take turns: a flood waits behind itself."""

import threading

from hypothesis import given
from hypothesis import strategies as st

from adapters.runtime.queueing.fair import FairQueue, stepped


def filled(*flows: str) -> FairQueue[tuple[str, int]]:
    queue: FairQueue[tuple[str, int]] = FairQueue()
    for number, flow in enumerate(flows):
        queue.put(flow, (flow, number))
    return queue


def test_flows_take_turns_and_each_keeps_its_order():
    queue = filled(*"aaaa", "b", "c", "b")
    assert "".join(queue.take()[0] for _ in range(7)) == "abcabaa"
    queue = filled(*"aaa")
    assert [queue.take()[1] for _ in range(3)] == [0, 1, 2]


def test_a_flow_that_comes_back_does_not_jump_the_queue():
    queue = filled("a", "b", "c")
    assert queue.take()[0] == "a"
    queue.put("a", ("a", 9))
    assert [queue.take()[0] for _ in range(3)] == ["b", "c", "a"]


def test_what_is_put_first_goes_first():
    queue = filled(*"aab")
    queue.put_first(("last step", 0))
    queue.put_first(("last step", 1))
    assert [queue.take()[0] for _ in range(5)] == ["last step", "last step", "a", "b", "a"]


@given(st.lists(st.sampled_from("abcd"), max_size=40), st.sampled_from("abcde"), st.integers(1, 9))
def test_the_number_ahead_is_never_too_small(flows, flow, count):
    queue = filled(*flows)
    ahead = queue.ahead(flow, count)
    for _ in range(count):
        queue.put(flow, ("mine", 0))
    taken = [queue.take()[0] for _ in range(len(flows) + count)]
    last = max(n for n, name in enumerate(taken, 1) if name == "mine")
    assert last <= ahead <= len(flows) + count


def test_takers_wait_for_items_and_end_when_it_is_closed():
    queue, taken = filled(), []
    threads = [threading.Thread(target=lambda: taken.append(queue.take())) for _ in range(3)]
    for thread in threads:
        thread.start()
    queue.put("a", ("a", 0))
    while not taken:
        threading.Event().wait(0.001)
    assert queue.close() == []
    for thread in threads:
        thread.join(30)
    assert sorted(map(str, taken)) == ["('a', 0)", "None", "None"]


def test_closing_gives_back_what_was_not_taken():
    queue = filled(*"aab")
    queue.put_first(("last step", 0))
    assert sorted(queue.close()) == [("a", 0), ("a", 1), ("b", 2), ("last step", 0)]
    assert queue.take() is None


def test_the_last_to_wait_is_the_first_to_go():
    queue, taken = filled(), []
    threads = []
    for name in "ab":
        threads.append(threading.Thread(target=lambda name=name: taken.append((name, queue.take()))))
        threads[-1].start()
        while len(queue._idle) < len(threads):
            threading.Event().wait(0.001)
    queue.put("flow", ("item", 0))
    threads[1].join(30)
    assert taken == [("b", ("item", 0))]
    queue.close()
    threads[0].join(30)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0, 5)), max_size=30))
def test_loads_that_wait_sum_up_and_end_at_zero(items):
    queue: FairQueue[float] = FairQueue()
    loads = [stepped(load) for _, load in items]
    for (flow, _), load in zip(items, loads, strict=True):
        queue.put(flow, load, load)
    assert queue.waiting == sum(loads) == queue.ahead("nobody", 10**6) - 10**6
    assert sum(queue.take() for _ in items) == sum(loads) and queue.waiting == 0


def test_what_is_ahead_is_counted_in_ordinary_items():
    queue: FairQueue[str] = FairQueue()
    queue.put("a", "long", 4.0)
    queue.put("a", "short", 0.5)
    assert queue.ahead("a", 1.0) == 5.5 and queue.ahead("b", 1.0) == 2.0, "flows take turns"
