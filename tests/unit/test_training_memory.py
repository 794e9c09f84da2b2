"""What training takes is known before it begins, and what cannot fit is refused with the figure."""

import re

import numpy as np
import pytest

from adapters.errors import TooMuchData
from adapters.training_memory import SMALL, needed, require

GIB = 1 << 30


def test_more_examples_numbers_and_views_take_more():
    base = needed(50_000, 1280)
    assert needed(100_000, 1280) > base and needed(50_000, 3600) > base and needed(50_000, 1280, looks=5) > base
    assert needed(50_000, 1280, outputs=1000) > base


def test_a_hundred_thousand_fit_into_a_container_of_four_gibibytes_beside_a_worker():
    require(int(2.5 * GIB), 100_000, 1280, outputs=10)


def test_what_does_not_fit_is_refused_with_both_figures_and_how_many_do():
    with pytest.raises(TooMuchData) as raised:
        require(GIB, 100_000, 1280)
    message = raised.value.message
    assert "100,000 examples" in message and "has 1.1 GB left" in message
    most = int(re.search(r"at most about ([\d,]+),", message)[1].replace(",", ""))
    assert 10_000 < most and needed(most, 1280) <= GIB < needed(most * 1.2, 1280)


@pytest.mark.parametrize("there", [0, 1 << 20])
def test_little_is_tried_whatever_is_left(there):
    require(there, 500, 3600)
    assert needed(500, 3600) < SMALL
    with pytest.raises(TooMuchData, match="at most about"):
        require(there, 10_000_000, 3600)


def test_figures_are_whole_bytes():
    assert isinstance(needed(int(np.int64(1000)), 1280), int)
