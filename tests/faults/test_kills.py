"""kill -9 of worker, server and their parent at random moments, with jobs and questions under way: nothing is lost."""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from support.recorder import Recorder
from support.services import eventually, kill

from service.client import ApiError

VICTIMS = {"worker": "service.cli worker", "server": "_bentoml_impl.worker", "arbiter": "bentoml serve"}
HEADS = ("c0", "c1", "c2")


@contextmanager
def asking(recorder: Recorder) -> Iterator[None]:
    """Somebody asks all the time, and notes who answered."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.1):
            try:
                recorder.ask(*HEADS)
            except (httpx.TransportError, ApiError):
                continue

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def kill_one(recorder: Recorder, rng: random.Random) -> None:
    """Of whatever runs at the moment."""
    victim = rng.choices(list(VICTIMS), [6, 3, 1])[0]
    for pid in recorder.service.pids(VICTIMS[victim])[-1:]:
        kill(pid)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seed", "rounds"), [(7, 3), pytest.param(8, 16, marks=[pytest.mark.slow, pytest.mark.timeout(900)])]
)
def test_nothing_is_lost_when_processes_are_killed_at_random(checked, seed, rounds):
    rng = random.Random(seed)
    for head in HEADS:
        checked.taught(head)
    with asking(checked):
        jobs = []
        for _ in range(rounds):
            submitting = threading.Thread(target=lambda: jobs.append(checked.teach(rng.choice(HEADS))))
            submitting.start()
            time.sleep(1.3 * rng.random())
            kill_one(checked, rng)
            submitting.join()
            time.sleep(6 * rng.random() if rng.random() < 0.4 else 0)
        ends = [checked.end(job) for job in jobs]
    assert {end["status"] for end in ends} <= {"succeeded", "rejected"}, [end["error"] for end in ends]
    eventually(lambda: checked.ask(*HEADS))
    last = [answer["version"] for answer in checked.answers if answer["head"] == "c0"]
    assert last == sorted(last), "no roll-back was asked for, so no answer is of an older version than one before"
