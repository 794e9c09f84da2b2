"""The texts that tests teach heads with are no copies of each other, as the service tells copies."""

import numpy as np
import pytest
from support import phrases

from adapters.modalities import text
from adapters.modalities.text import alike

EACH = phrases.PARTS**3


@pytest.mark.parametrize("subject", phrases.SUBJECTS)
def test_no_two_are_near_duplicates(subject):
    made = [phrases.text(subject, number) for number in range(EACH)]
    prints = np.array([text.fingerprint({}, one) for one in made])
    likeness = (prints[:, None] == prints).mean(axis=2)
    np.fill_diagonal(likeness, 0)
    assert len(set(made)) == EACH and likeness.max() < alike.LIKENESS
