"""Heavy work gives way, and only while there is somebody to give way to."""

import threading

import pytest

from service.limits import upload_throttle
from service.limits.upload_throttle import UploadThrottle


@pytest.fixture
def rests(monkeypatch):
    """How long turns rested."""
    noted: list[float] = []
    monkeypatch.setattr(upload_throttle.time, "sleep", noted.append)
    return noted


def test_nobody_rests_for_nobody(rests):
    with UploadThrottle(lambda: False).turn():
        pass
    assert rests == []


def test_while_predictions_are_under_way_a_rest_follows_each_slice(rests):
    with UploadThrottle(lambda: True).turn():
        pass
    assert len(rests) == 1 and 0 < rests[0] <= upload_throttle.LONGEST


def test_slices_of_several_uploads_take_turns_then():
    giving, inside = UploadThrottle(lambda: True), threading.Event()

    def other() -> None:
        with giving.turn():
            inside.set()

    thread = threading.Thread(target=other)
    with giving.turn():
        thread.start()
        assert not inside.wait(0.05), "it waits for this one"
    thread.join(10)
    assert inside.is_set()


def test_a_slice_that_fails_lets_the_next_one_in():
    giving = UploadThrottle(lambda: True)
    with pytest.raises(ZeroDivisionError), giving.turn():
        raise ZeroDivisionError
    with giving.turn():
        pass
