"""What a text looks like whatever its case and punctuation: MinHash of its runs of three letters (Broder, 1997).

The share of equal bytes of two fingerprints is about the Jaccard likeness of their sets of runs (b-bit minwise hashing,
Li & König, WWW 2010: one byte of each minimum is enough). One typo in a sentence of 60 letters leaves 0.9 of it.
"""

import functools
import unicodedata

import numpy as np
from numpy.typing import NDArray

from adapters.nfc import nfc

LENGTH = 128  # bytes; the likeness is then right to about 0.04
RUN = 3  # letters
READ = 2000  # characters that count: about what a backbone reads of a long text
_MIX = np.uint32(0x9E3779B1)  # 2³² over the golden ratio (Knuth)


def fingerprint(text: str) -> NDArray[np.uint8]:
    """A text → u8 [128]."""
    runs = _runs(_plain(text[:READ]))
    factors, shifts = _hashes()
    lowest = (runs[:, None] * factors + shifts).min(axis=0)
    return ((lowest * _MIX) >> np.uint32(24)).astype(np.uint8)


@functools.cache
def _hashes() -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The same on every machine: factors, which are odd, and shifts, u32 [128] each."""
    generator = np.random.default_rng(1997)
    factors = generator.integers(0, 1 << 32, LENGTH, dtype=np.uint32) | np.uint32(1)
    return factors, generator.integers(0, 1 << 32, LENGTH, dtype=np.uint32)


def _plain(text: str) -> str:
    """Without case, punctuation and doubled spaces; of a text that is nothing else, as it is. Emoji are kept."""
    folded = nfc(text.casefold())
    words = "".join(" " if unicodedata.category(c)[0] in "PZC" else c for c in folded).split()
    return f" {' '.join(words) or folded} "


def _runs(text: str) -> NDArray[np.uint32]:
    """A number for each run of three letters, u32 [R]; R ≥ 1."""
    letters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    numbers = letters[: 1 - RUN].copy()
    for step in range(1, RUN):
        numbers = (numbers ^ (numbers >> np.uint32(15))) * _MIX + letters[step : len(letters) - RUN + 1 + step]
    return np.unique(numbers * _MIX)
