"""Copies of one message are told from other messages, by letters and embeddings together."""

from collections.abc import Callable

import numpy as np
import pytest

from adapters.errors import Cancelled
from adapters.modalities import text as modality
from adapters.modalities.text import alike, fingerprints
from adapters.types import Tensors

QUESTION = "How do I locate my card that was sent last week?"
NOTHING: Tensors = {}


def likeness(one: str, other: str) -> float:
    """The share of equal bytes of their fingerprints."""
    prints = [modality.fingerprint(NOTHING, each.encode()) for each in (one, other)]
    assert all(each.shape == (fingerprints.LENGTH,) and each.dtype == np.uint8 for each in prints)
    return float((prints[0] == prints[1]).mean())


@pytest.mark.parametrize(
    "other",
    [
        QUESTION, QUESTION.upper(), QUESTION.replace("?", "!!"), f"  {QUESTION}\n", QUESTION.replace(" ", "\u00a0"),
        QUESTION.replace("?", "").replace(" ", "  "),
    ],
)  # fmt: skip
def test_case_punctuation_and_spaces_do_not_count(other: str) -> None:
    """The fingerprint is the very same."""
    assert likeness(QUESTION, other) == 1.0


@pytest.mark.parametrize(
    "other",
    [QUESTION.replace("locate", "lokate"), QUESTION.replace("How", "Hello how"), QUESTION.replace("sent ", "")],
)
def test_one_letter_or_one_word_leaves_texts_alike(other: str) -> None:
    """Enough to be taken for a copy, where embeddings agree."""
    assert alike.LIKENESS <= likeness(QUESTION, other) < 1.0


@pytest.mark.parametrize(
    "other",
    ["Where is the card you posted me?", "My top-up was rejected. Why?", "How do I activate it?", "你好吗", "😀"],
)
def test_another_text_is_not_alike(other: str) -> None:
    """Also one that asks the same in other words."""
    assert likeness(QUESTION, other) < alike.LIKENESS


@pytest.mark.parametrize("said", ["?", "a", "😀", "...", "ok", "\u0301"])
def test_a_text_of_one_sign_has_a_fingerprint(said: str) -> None:
    """Nothing to divide by zero; it is like itself."""
    assert likeness(said, said) == 1.0


def test_emoji_count() -> None:
    """Two faces are two messages."""
    assert likeness("😀", "😡") < alike.LIKENESS


def joined(texts: list[str], embeddings: list[list[float]]) -> set[tuple[int, int]]:
    """The pairs that are found, lower position first."""
    prints = np.array([fingerprints.fingerprint(each) for each in texts])
    (rounds,) = alike.alike(np.array(embeddings, np.float32), prints, lambda: None)
    left, right = rounds(np.arange(len(texts)))
    return {(min(pair), max(pair)) for pair in zip(left.tolist(), right.tolist(), strict=True)}


def test_pairs_need_both_letters_and_embeddings() -> None:
    """Alike in letters and near: joined. Only near, or only in letters: not."""
    texts = [QUESTION, QUESTION.upper(), "Where has it gone?", QUESTION.lower()]
    near, far = [1.0, 0.1], [-1.0, 0.2]
    assert joined(texts, [near, near, near, far]) == {(0, 1)}


def test_two_texts_are_enough_and_one_blank_embedding_does_no_harm() -> None:
    """A vector of zeros is near nothing."""
    assert joined([QUESTION, QUESTION], [[1.0, 0.0], [2.0, 0.0]]) == {(0, 1)}
    assert joined([QUESTION, QUESTION], [[1.0, 0.0], [0.0, 0.0]]) == set()


def test_copies_are_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows are compared with all others, whichever block they are in."""
    monkeypatch.setattr(alike, "BLOCK", 4)
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(30, 8)).round(3).tolist()
    texts = [f"message {'abcdefghijklmnopqrstuvwxyz'[i % 26] * 12} number {i * 7919}" for i in range(30)]
    vectors[29], texts[29] = vectors[0], texts[0].upper()
    assert joined(texts, vectors) == {(0, 29)}


def test_a_cancelled_job_stops() -> None:
    """`cancelled` is asked for each block."""

    def raises() -> None:
        raise Cancelled("the job was cancelled")

    stop: Callable[[], None] = raises
    with pytest.raises(Cancelled):
        alike.alike(np.ones((2, 2), np.float32), np.zeros((2, 128), np.uint8), stop)
