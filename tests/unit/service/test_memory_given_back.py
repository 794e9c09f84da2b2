"""The serving process gives free memory back now and then, for as long as it lives."""

import threading

from service.operations import memory


def test_memory_is_given_back_again_and_again_until_told_to_stop():
    turns, enough = [], threading.Event()

    def give_back() -> None:
        turns.append(threading.current_thread())
        if len(turns) == 3:
            enough.set()

    stop = memory.keep_giving_back(0.001, give_back)
    assert enough.wait(30)
    stop.set()
    turns[0].join(30)
    assert not turns[0].is_alive() and {thread.name for thread in turns} == {"memory"}
