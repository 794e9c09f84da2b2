"""What a modality leaves out is made of what it says itself; what it says is left alone."""

from types import ModuleType
from typing import Any

import numpy as np
import pytest

from adapters import modalities
from adapters.modalities import _defaults
from adapters.types import Probed


@pytest.fixture
def noise() -> Any:
    """A modality of bytes that are no text."""
    module: Any = ModuleType("noise")
    module.NOUN, module.UNIT, module.MOST, module.MEDIA_TYPES = "noise", "samples", 10, ("audio/x-noise",)
    module.sniff = lambda data: data[:1] == b"\xff"
    module.probe = lambda data, *, most: Probed({"format": "noise", "samples": len(data)}, len(data))
    _defaults.complete(module)
    return module


def test_its_media_type_is_its_first_one(noise: Any) -> None:
    assert noise.media_type(b"\xff\x00") == "audio/x-noise"
    assert noise.media_type(b"RIFF") == "application/octet-stream"


def test_a_full_check_tells_what_the_cheap_one_does(noise: Any) -> None:
    assert noise.verify(b"\xff\x00") == {"format": "noise", "samples": 2}


def test_what_cannot_be_read_is_shown_by_its_size(noise: Any) -> None:
    assert noise.preview(b"\xff\x00\x01", 96, most=10).text == "noise of 3 samples"
    assert noise.preview(b"plain words", 5, most=20).text == "plain"


def test_several_are_padded_to_one_length_with_zeros_of_their_kind(noise: Any) -> None:
    items = [{"wave": np.ones((length, 2), np.int16)} for length in (3, 17)]
    batch = noise.collate(items, None)["wave"]
    assert batch.shape == (2, 32, 2) and batch.dtype == np.int16 and batch.sum() == 40
    assert np.shares_memory(noise.collate(items[:1], None)["wave"], items[0]["wave"])


def test_equal_files_are_joined_to_the_first_of_them(noise: Any) -> None:
    prints = np.stack([noise.fingerprint({}, data) for data in (b"a", b"b", b"a", b"c", b"b", b"a")])
    [more] = noise.alike(np.zeros((6, 1), np.float32), prints, lambda: None)
    left, right = more(np.arange(6))
    assert left.tolist() == [0, 1, 0] and right.tolist() == [2, 4, 5]


def test_what_a_modality_says_itself_stays() -> None:
    text: Any = modalities.get("text")
    assert text.media_type.__module__ == "adapters.modalities.text"
    assert modalities.training_side("text").__name__ == "adapters.modalities.text.alike"  # type: ignore[attr-defined]
    assert "_defaults" not in modalities.names()
