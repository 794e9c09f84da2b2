"""NFC is what `unicodedata.normalize` says, whatever a text holds, and no long run of marks is given to it unsorted."""

import sys
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import nfc as module
from adapters.nfc import PIECE, joining, nfc, pieces

MARKS = "\u0300\u0316\u0344\u0f73\u0f71\u05b0\u3099"  # above, below, two that are two marks each, and others
LETTERS = "ae=\u1100\u1161\u11a8가漢か\u1f82\u2126\U0001d15e\U0001d157\U0001d165\u09c7\u09be"
HOSTILE = {
    "two marks in turn": "\u0300\u0316" * 40_000,
    "behind a letter": "a" + "\u0316\u0300" * 40_000,
    "marks of two marks": "\u0f73" * 40_000,
    "between letters": "x".join(["\u0f73\u0301" * PIECE] * 5),
    "letters of two": "\U0001d15e" * 40_000,
}


class Recorder:
    """`unicodedata` with a list of what was normalised."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(unicodedata, name)

    def normalize(self, form: str, text: str) -> str:
        self.seen.append(text)
        return unicodedata.normalize(form, text)  # type: ignore[arg-type]


def has_long_unsorted_run(text: str, most: int) -> bool:
    """Whether more characters than that stand together of which some would have to be sorted."""
    falls = [before > after > 0 for before, after in pairwise(map(unicodedata.combining, text))]
    return len(text) > most and any(falls)


@pytest.mark.parametrize("what", HOSTILE)
def test_no_long_run_of_marks_is_left_to_be_sorted(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """It would be sorted by insertion: 80,000 marks in seconds, in which no other thread runs."""
    recorder = Recorder()
    monkeypatch.setattr(module, "unicodedata", recorder)
    found = nfc(HOSTILE[what])
    assert recorder.seen and not any(has_long_unsorted_run(text, 2 * PIECE) for text in recorder.seen)
    assert unicodedata.is_normalized("NFD", unicodedata.normalize("NFD", found))
    assert len(unicodedata.normalize("NFD", found)) == sum(len(unicodedata.normalize("NFD", c)) for c in HOSTILE[what])


@given(
    st.lists(
        st.tuples(st.text(alphabet=MARKS + LETTERS, min_size=1, max_size=4), st.integers(1, 3 * PIECE)), max_size=4
    )
)
@settings(max_examples=100, deadline=None)
def test_it_is_what_the_library_says(parts: list[tuple[str, int]]) -> None:
    """Bit for bit, in long runs of a few characters, where cuts and sorting happen."""
    text = "".join(part * times for part, times in parts)[: 6 * PIECE]
    assert nfc(text) == unicodedata.normalize("NFC", text)


@given(st.text(max_size=40).map(lambda part: part * 60))
@settings(max_examples=100, deadline=None)
def test_it_is_what_the_library_says_of_any_text(text: str) -> None:
    """Whatever alphabets come together."""
    assert nfc(text) == unicodedata.normalize("NFC", text)


def test_an_ordinary_text_is_normalised_in_short_pieces() -> None:
    """All of it, in its order."""
    text = "Où est ma carte\u0301 ? 각각의 질문 " * 1000
    assert "".join(pieces(text)) == text
    assert max(map(len, pieces(text))) <= PIECE + 2


def test_every_character_that_joins_another_is_known() -> None:
    """By this Python's tables: also where a later Unicode has more marks than were thought of."""
    marks = {
        code for code in range(sys.maxunicode + 1) if unicodedata.combining(unicodedata.normalize("NFD", chr(code))[0])
    }
    canonical = [unicodedata.decomposition(chr(code)).split() for code in range(sys.maxunicode + 1)]
    seconds = {int(parts[1], 16) for parts in canonical if len(parts) == 2 and parts[0][0] != "<"}
    assert marks | seconds <= set(joining())
