"""The text of an API key: `esp_<id>_<secret>`. The id is the name by which it is known, the secret is shown once.

A secret has 256 random bits, so there is nothing to guess and nothing for a slow hash to slow down: what is kept is its
HMAC-SHA-256 under ESPALIER_KEY_PEPPER, which who has a copy of the database alone does not have. docs/adr/0018.
"""

import hmac
import re
import secrets
from typing import Final

PREFIX: Final = "esp"  # scanners of repositories look for it
ALPHABET: Final = "abcdefghijkmnpqrstuvwxyz23456789"  # nothing that is read for something else
ID_LENGTH: Final = 10
FORM: Final = re.compile(rf"{PREFIX}_([a-z0-9]{{{ID_LENGTH}}})_[A-Za-z0-9_-]{{43}}", re.ASCII)
UNPEPPERED: Final = b"espalier"


def mint() -> tuple[str, str]:
    """A new key: its id, and all of its text."""
    key_id = "".join(secrets.choice(ALPHABET) for _ in range(ID_LENGTH))
    return key_id, f"{PREFIX}_{key_id}_{secrets.token_urlsafe(32)}"


def id_of(text: str) -> str | None:
    """The id in a key's text; None for what is no key of ours."""
    found = FORM.fullmatch(text)
    return found.group(1) if found else None


def digest(text: str, pepper: bytes = b"") -> str:
    """What is kept of a key's text, hexadecimal."""
    return hmac.digest(pepper or UNPEPPERED, text.encode(), "sha256").hex()


def is_same(one: str, other: str) -> bool:
    """Compares two digests in a time that tells nothing of where they differ."""
    return hmac.compare_digest(one, other)
