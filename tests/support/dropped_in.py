"""The modality `dna`, one file of the tests, where it would be if it came with Espalier."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from adapters import modalities

NAME = "dna"
FOLDER = Path(__file__).parent / "modalities"


@contextmanager
def modality() -> Iterator[Any]:
    """Found by its name as long as this is open."""
    modalities.__path__.append(str(FOLDER))
    try:
        yield modalities.get(NAME)
    finally:
        modalities.__path__.remove(str(FOLDER))
        modalities.get.cache_clear()
        sys.modules.pop(f"adapters.modalities.{NAME}")
