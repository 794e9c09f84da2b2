"""Remembered embeddings: found by what was sent and the backbone, bounded in bytes, never an error."""

import hashlib
from collections import Counter

import numpy as np

from adapters.errors import InvalidImage
from adapters.runtime.embedding_memory import OVERHEAD, EmbeddingMemory
from adapters.runtime.meters import Meters


class Waiter:
    """Keeps what it is resolved with."""

    abandoned = False

    def __init__(self) -> None:
        self.answers: list[object] = []

    def resolve(self, answer: object) -> None:
        self.answers.append(answer)


def ask(memory: EmbeddingMemory, data: bytes, answer: object, backbone: str = "b") -> object:
    """What an waiter gets, who brings `answer` where the embedding is not remembered."""
    waiter = Waiter()
    instead = memory.look_up(backbone, data, waiter)
    if instead is not None:
        instead.resolve(answer)
    (found,) = waiter.answers
    return found


def vector(value: float) -> np.ndarray:
    return np.full(4, value, np.float32)


def test_the_same_image_on_the_same_backbone_is_remembered():
    seen: Counter = Counter()
    memory = EmbeddingMemory(10_000, Meters(cache_hit=lambda: seen.update("h"), cache_miss=lambda: seen.update("m")))
    ask(memory, b"x", vector(1))
    assert ask(memory, memoryview(b"x"), vector(2))[0] == 1
    assert ask(memory, b"x", vector(3), backbone="another")[0] == 3
    assert ask(memory, b"y", vector(4))[0] == 4
    assert seen == {"h": 1, "m": 3} and len(memory) == 3


def test_a_row_of_a_pass_does_not_keep_the_pass():
    memory = EmbeddingMemory(10_000)
    rows = np.ones((64, 4), np.float32)
    ask(memory, b"x", rows[3])
    assert ask(memory, b"x", None).base is None


def test_errors_are_passed_on_and_not_remembered():
    memory = EmbeddingMemory(10_000)
    assert isinstance(ask(memory, b"x", InvalidImage("no")), InvalidImage)
    assert ask(memory, b"x", vector(2))[0] == 2


def test_memory_is_bounded_and_the_least_recently_used_goes():
    memory = EmbeddingMemory(2 * (16 + OVERHEAD))
    for data in (b"a", b"b", b"a", b"c"):
        ask(memory, data, vector(1))
    assert ask(memory, b"a", vector(2))[0] == 1 and ask(memory, b"c", vector(2))[0] == 1
    assert ask(memory, b"b", vector(2))[0] == 2
    assert len(memory) == 2 and memory.bytes == 2 * (16 + OVERHEAD)


def test_who_asks_beside_another_does_not_count_twice():
    memory, one, other = EmbeddingMemory(10_000), Waiter(), Waiter()
    first, second = memory.look_up("b", b"x", one), memory.look_up("b", b"x", other)
    first.resolve(vector(1))
    second.resolve(vector(1))
    assert len(memory) == 1 and memory.bytes == 16 + OVERHEAD


def test_with_no_room_nothing_is_hashed_or_kept():
    memory, waiter = EmbeddingMemory(0), Waiter()
    assert memory.look_up("b", b"x", waiter) is waiter


def test_who_asks_through_it_is_still_seen_to_leave():
    memory, waiter = EmbeddingMemory(100), Waiter()
    instead = memory.look_up("b", b"x", waiter)
    assert not instead.abandoned
    waiter.abandoned = True
    assert instead.abandoned


def test_what_is_kept_elsewhere_is_found_there_once():
    asked: list[tuple[str, str]] = []

    def stored(backbone: str, sha256: str) -> np.ndarray | None:
        asked.append((backbone, sha256))
        return vector(7) if sha256 == hashlib.sha256(b"taught").hexdigest() else None

    memory = EmbeddingMemory(10_000, stored=stored)
    assert ask(memory, b"taught", vector(1))[0] == 7 == ask(memory, b"taught", vector(1))[0]
    assert ask(memory, b"new", vector(1))[0] == 1 == ask(memory, b"new", vector(2))[0]
    assert len(asked) == 2


def test_what_is_remembered_can_be_asked_for_by_sha256():
    memory = EmbeddingMemory(10_000)
    ask(memory, b"x", vector(5))
    key = hashlib.sha256(b"x").hexdigest()
    assert {k: v[0] for k, v in memory.known("b", [key, "other"]).items()} == {key: 5}
    assert memory.known("another", [key]) == {}
