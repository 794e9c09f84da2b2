"""A text made to be costly is answered like any other; what is long is encoded while other threads run."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Encoding

from adapters.errors import InvalidText
from adapters.modalities import text as modality
from adapters.modalities.text import IDS, Spec, wordpieces
from adapters.modalities.text.wordpieces import DEFAULT, HELD
from benchmarks.costly_texts import TEXTS
from service.intake.datasets import sources

SPEC = Spec(DEFAULT, 256)
MOST = 8000  # characters of a text that is also encoded whole, to compare with
CHARACTERS = "ax \n.-_!=<漢㐀か가á\u0301\u0338\u0f73\u0345\u302e\u200d\ufe0f\u20dd\u3000、“😀İßΣ\U0001d15e\u09be"


class Recorder:
    """A tokenizer with a list of the texts that were encoded while the interpreter was held."""

    def __init__(self) -> None:
        self.held: list[str] = []
        self._real = wordpieces.get(DEFAULT)

    def __getattr__(self, name: str) -> object:
        return getattr(self._real, name)

    def encode(self, text: str) -> Encoding:
        self.held.append(text)
        return self._real.encode(text)


def whole(text: str, most: int) -> list[int]:
    """The pieces by the library alone."""
    ids = wordpieces.get(DEFAULT).encode(text).ids
    return ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]


@pytest.mark.slow
@pytest.mark.parametrize("what", TEXTS)
def test_a_hostile_text_is_read_or_refused_and_never_held_long(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """By the check before storing and by the decoder, with one answer."""
    recorder, data = Recorder(), TEXTS[what]().encode()
    monkeypatch.setattr(wordpieces, "get", lambda digest: recorder)
    answers = set[str]()
    for door in (modality.probe, lambda d: modality.decode(d, SPEC)):
        try:
            door(data)
            answers.add("read")
        except InvalidText as error:
            answers.add(error.message)
    assert len(answers) == 1
    assert all(len(text) <= HELD for text in recorder.held)


def test_long_and_short_texts_meet_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A short text is encoded at once, which is quicker; one over the bound is not."""
    recorder = Recorder()
    monkeypatch.setattr(wordpieces, "get", lambda digest: recorder)
    assert wordpieces.count("a " * (HELD // 2), DEFAULT) == HELD // 2 + 2 and len(recorder.held) == 1
    assert wordpieces.count("a " * HELD, DEFAULT) == HELD + 2 and len(recorder.held) == 1


@pytest.mark.slow
@given(
    st.lists(st.tuples(st.text(alphabet=CHARACTERS, min_size=1, max_size=6), st.integers(1, 3000)), max_size=5),
    st.sampled_from([16, 64, 256]),
)
@settings(max_examples=100, deadline=None)
def test_the_start_of_a_text_gives_the_pieces_of_the_whole(parts: list[tuple[str, int]], most: int) -> None:
    """Wherever it is cut, and whichever way it is encoded."""
    text = "".join(part * times for part, times in parts)[:MOST]
    assert wordpieces.count(text, DEFAULT) == len(whole(text, MOST * 4))
    try:
        found = wordpieces.encode(text, DEFAULT, most)
    except InvalidText:
        return
    assert found.tolist() == whole(text, most)


@given(st.text(alphabet=CHARACTERS, min_size=1, max_size=40).map(lambda part: part * 200))
@settings(max_examples=100, deadline=None)
def test_what_is_read_is_the_same_mixed(text: str) -> None:
    """The same of texts in which everything stands beside everything."""
    try:
        assert wordpieces.encode(text, DEFAULT, 64).tolist() == whole(text, 64)
    except InvalidText:
        pass


def test_a_start_is_enough_where_no_spaces_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Signs, ends of lines and Han characters part words as spaces do."""
    seen: list[int] = []
    real = wordpieces._encoded
    monkeypatch.setattr(wordpieces, "_encoded", lambda text, digest: seen.append(len(text)) or real(text, digest))
    for text in ("!" * 100_000, "a\n" * 50_000, "中文" * 50_000):
        wordpieces.encode(text, DEFAULT, 256)
    assert max(seen) <= 16 * 256


def test_marks_upon_marks_are_read_as_the_letter_below() -> None:
    """BERT leaves out marks; nothing is refused that a person may have typed for fun."""
    zalgo = "".join(letter + "\u0300\u0316\u0301\u0334" * 40 for letter in "where")
    assert modality.decode(zalgo.encode(), SPEC)[IDS].tolist() == [101, 2073, 102]
    assert np.array_equal(
        modality.fingerprint({}, zalgo.encode()), modality.fingerprint({}, ("w" + zalgo[1:]).encode())
    )


def test_a_table_of_hostile_texts_is_taken_apart() -> None:
    """Each is an item, whatever its characters."""
    rows = "\n".join(f'"{TEXTS[what]()[:2000]}",{number % 2}' for number, what in enumerate(TEXTS))
    assert len(sources.of_texts(f"text,label\n{rows}\n".encode()).items) == len(TEXTS)
