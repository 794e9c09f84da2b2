"""Text → the numbers of its word pieces, by the tokenizer that a backbone's spec names (`tokenizers/`, by SHA-256)."""

import functools
import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from adapters.errors import CorruptArtifact, InvalidInput, InvalidText

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

DEFAULT = "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"
ENDS = 2  # pieces that every text has: where it begins and where it ends
_START = 16  # characters read first for each piece that fits; English has about four
HELD = 2000  # characters of a text that is encoded without letting other threads in: 10 ms at most
# The longest start that ends where BERT parts words, whatever follows: behind a space, a sign of ASCII, a Han letter.
_PARTED = re.compile(r".*[\s!-/:-@\[-`{-~\u3400-\u4dbf\u4e00-\u9fff]", re.DOTALL)

UNKNOWN = "[UNK]"

Pieces = NDArray[np.int64]  # [T]


@functools.cache
def known() -> tuple[str, ...]:
    """Digests of the tokenizers that there are."""
    files = resources.files(__package__).joinpath("tokenizers").iterdir()
    return tuple(sorted(f.name.removesuffix(".json") for f in files if f.name.endswith(".json")))


@functools.cache
def get(digest: str) -> "Tokenizer":
    """The tokenizer with that SHA-256, neither padding nor cutting. Raises InvalidInput, CorruptArtifact.

    `[SEP]`, `[PAD]` and their like are read as the letters that a person wrote: nobody speaks to the model past us.
    """
    from tokenizers import Tokenizer  # 3 MiB that an installation without texts has no use for

    if digest not in known():
        raise InvalidInput(f"no tokenizer here has the SHA-256 {digest[:12]}…; update this installation")
    data = resources.files(__package__).joinpath("tokenizers", f"{digest}.json").read_bytes()
    if hashlib.sha256(data).hexdigest() != digest:
        raise CorruptArtifact(f"the file of the tokenizer {digest[:12]}… was changed; install Espalier anew")
    found = Tokenizer.from_buffer(data)
    found.no_padding()
    found.no_truncation()
    found.encode_special_tokens = True
    return found


def count(text: str, digest: str) -> int:
    """Pieces of all of a text, with both ends."""
    return len(_encoded(text, digest))


def ends(digest: str) -> tuple[int, int]:
    """The pieces that every text begins and ends with."""
    first, last = get(digest).encode("").ids
    return first, last


def vocabulary(digest: str) -> int:
    """How many different pieces there are."""
    return int(get(digest).get_vocab_size())


def encode(text: str, digest: str, most: int) -> Pieces:
    """The first `most` pieces, with both ends, i64 [T]. Raises InvalidText where there is nothing that it can read."""
    ids = _first(text, digest, most)
    cut = ids if len(ids) <= most else [*ids[: most - 1], ids[-1]]
    _refuse_unreadable(cut, digest)
    return np.array(cut, dtype=np.int64)


def _refuse_unreadable(ids: list[int], digest: str) -> None:
    """A text whose words are mostly unknown would be like any other such: all that was taught would be a guess."""
    if len(ids) <= ENDS:
        raise InvalidText("the text is empty: it has nothing but spaces and signs that nobody sees")
    nothing_known = get(digest).token_to_id(UNKNOWN)
    unknown = sum(number == nothing_known for number in ids)
    if 2 * unknown > len(ids) - ENDS:
        raise InvalidText(
            f"the backbone cannot read this text: it does not know {unknown} of its {len(ids) - ENDS} words or signs;"
            " take a backbone for that language or script"
        )


def _first(text: str, digest: str, most: int) -> list[int]:
    """Pieces of as much of a text as is sure to hold the first `most`: reading all of a long one takes 0.1 s.

    Words are cut apart before they become pieces, so that a start which ends where they are gives the start of the
    pieces. A start that is too short (marks, emoji, one endless word) is followed by all of it.
    """
    found = _PARTED.match(text, 0, _START * most) if len(text) > _START * most else None
    if found and len(ids := _encoded(found[0], digest).ids) >= most:
        return list(ids)
    return list(_encoded(text, digest).ids)


def _encoded(text: str, digest: str) -> "Encoding":
    """All of a text. `encode` holds the interpreter all the while, 4 µs a character at worst; a batch lets it go.

    (tokenizers 0.23, bindings/python/src/tokenizer.rs: `encode_batch_fast` detaches; it leaves out offsets only.) A
    batch also has to wait for the interpreter at its end, so that short texts are quicker without.
    """
    if len(text) <= HELD:
        return get(digest).encode(text)
    return get(digest).encode_batch_fast([text])[0]
