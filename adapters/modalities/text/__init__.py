"""Texts: bytes → word pieces, the same way for training and for serving.

`reading` makes a string of bytes or refuses them; `wordpieces` numbers of the string; `adapters.padding` puts several
side by side; `fingerprints` tells copies; `alike` (training) finds them. ADR 27 says what was chosen, by which figures.

A text longer than what a backbone reads is cut, not refused: the start of a message says what it is about, and
windows that are averaged would be another model than the one whose figures are known. `probe` says how much was cut.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from adapters import padding
from adapters.modalities.text import fingerprints, reading, wordpieces
from adapters.modalities.text.reading import is_text as sniff
from adapters.modalities.text.spec import Spec
from adapters.types import Input, Preview, Probed, Tensors

__all__ = ["FIELD", "FORMATS", "MEDIA_TYPES", "MOST", "NOUN", "SUFFIXES", "UNIT", "Spec"]
__all__ += [
    "collate",
    "decode",
    "effort",
    "fingerprint",
    "inputs",
    "load",
    "media_type",
    "preview",
    "probe",
    "sniff",
    "trial",
]
__all__ += ["verify"]

NOUN, FIELD = "text", "texts"
UNIT, MOST = "characters", 100_000  # some forty pages: 0.1 s to count the pieces of, 5 ms to read what counts
MEDIA_TYPES = ("text/plain",)
SUFFIXES = frozenset({".txt"})
FORMATS = ("UTF-8 text",)
IDS, MASK = "input_ids", "attention_mask"  # names of the graph's tensors
COPIES = "Copies of one text but for case, punctuation, a letter or a word."

READ = 256  # pieces: what the makers of all-MiniLM-L6-v2 let it read
CUT_FROM = READ - 2  # bytes: nothing of a shorter text is cut, as a piece has one or more
ORDINARY = 64  # pieces of a text that is one unit of load
_BYTES = 4.5  # a piece of English, the space before it included
_FIXED = 0.2  # of an ordinary text's time, whatever the length: 2 of 10 ms on one core
_LENGTHS = (ORDINARY, 3, 16, 17, READ, 128, 33)  # made up for proofs: both sides of buckets, shortest and longest


def media_type(data: bytes) -> str:
    """The media type of a text by its bytes; what is none is only bytes."""
    return "text/plain; charset=utf-8" if sniff(data) else "application/octet-stream"


def probe(data: bytes | memoryview, *, most: int = MOST) -> Probed:
    """Read all of it. {"format", "characters", "tokens", "cut"}: `cut` pieces are past what a backbone reads.

    Costs 50 µs for a sentence and 0.1 s for the longest, 0.5 s for one that is made to be costly; other threads run
    meanwhile. Raises InvalidText, TextTooLong.
    """
    text = reading.text(data, most)
    tokens = len(wordpieces.encode(text, wordpieces.DEFAULT, READ))
    if tokens == READ:
        tokens = wordpieces.count(text, wordpieces.DEFAULT)
    facts = {"format": "text", "characters": len(text), "tokens": tokens, "cut": max(0, tokens - READ)}
    return Probed(facts, len(text))


def verify(data: bytes | memoryview, *, most: int = MOST) -> dict[str, Any]:
    """What `probe` tells: there is nothing more to check. Raises InvalidText, TextTooLong."""
    return probe(data, most=most).facts


def effort(facts: dict[str, Any]) -> int:
    """What verifying took, in bytes and pixels that a JPEG's would have in that time: 1 µs a character."""
    return 100 * int(facts["characters"])


def inputs(spec: Spec) -> tuple[Input, ...]:
    """The graph's input tensors: pieces, and 1 where they are, 0 where a row is only padded."""
    return Input(IDS, "int64", (None,)), Input(MASK, "int64", (None,))


def decode(data: bytes | memoryview, spec: Spec, *, most: int = MOST) -> Tensors:
    """Bytes of one text → i64 [T] each, T at most `spec.max_length`. Raises InvalidText, TextTooLong."""
    return _tensors(wordpieces.encode(reading.text(data, most), spec.tokenizer, spec.max_length))


def collate(items: Sequence[Tensors], spec: Spec, *, pad: bool = False) -> Tensors:
    """N texts → i64 [N, T] each. One alone is as long as it is, without a copy, unless `pad`."""
    return padding.collate(items, pad)


def load(size: int) -> float:
    """What a text of so many bytes is worth in ordinary ones, of 64 pieces: from 0.2 to 3.4, by measured time."""
    return _FIXED + (1 - _FIXED) * min(size / _BYTES, READ) / ORDINARY


def trial(spec: Spec, count: int, seed: int = 0) -> list[Tensors]:
    """Made-up texts of an ordinary, the shortest, the longest and other lengths in turn; the same for one seed."""
    generator = np.random.default_rng(seed)
    lengths = [min(_LENGTHS[i % len(_LENGTHS)], spec.max_length) for i in range(count)]
    first, last = wordpieces.ends(spec.tokenizer)
    size = wordpieces.vocabulary(spec.tokenizer)
    return [_tensors(np.array([first, *generator.integers(1000, size, n - 2), last], np.int64)) for n in lengths]


def fingerprint(tensors: Tensors, data: bytes | memoryview) -> NDArray[np.uint8]:
    """MinHash of the text, u8 [128]; case and punctuation do not count. Of a text that was decoded, at any length."""
    return fingerprints.fingerprint(reading.text(data, len(data)))


def preview(data: bytes | memoryview, side: int, *, most: int = MOST) -> Preview:
    """The text itself, cut after about 200 characters; `side` is of pictures. Raises InvalidText, TextTooLong."""
    text = reading.shortened(reading.text(data, most))
    return Preview("text/plain; charset=utf-8", text.encode(), text)


def _tensors(ids: NDArray[np.int64]) -> Tensors:
    return {IDS: ids, MASK: np.ones_like(ids)}
