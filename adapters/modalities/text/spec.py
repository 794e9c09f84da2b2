"""How a text becomes a backbone's input."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Spec:
    """NFC, then the word pieces of that tokenizer, cut after the first `max_length` of them."""

    tokenizer: str  # SHA-256 of its tokenizer.json: it is in the digest of the backbone
    max_length: int  # pieces, with the two that mark both ends
    unicode: Literal["NFC"] = "NFC"
