"""The fake backbone does what a backbone promises."""

import concurrent.futures

import numpy as np
import pytest

from adapters.runtime.fake import DIMENSION, FAKE, SIDE, FakeBackbone


def test_it_embeds_pixels_by_their_colour():
    pixels = np.zeros((2, SIDE, SIDE, 3), np.uint8)
    pixels[1] = (1, 2, 3)
    embeddings = FakeBackbone().embed([{"pixels": one} for one in pixels])
    assert embeddings.shape == (2, DIMENSION) == (2, FAKE.dimension) and embeddings.dtype == np.float32
    assert embeddings.tolist() == [[0, 0, 0, 1], [1, 2, 3, 1]]


def test_it_can_be_held_and_made_to_fail():
    backbone, pixels = FakeBackbone(8), np.full((1, SIDE, SIDE, 3), 7, np.uint8)
    backbone.fail_on = {7}
    backbone.hold()
    with concurrent.futures.ThreadPoolExecutor() as pool:
        held = pool.submit(backbone.embed, [{"pixels": pixels[0]}])
        backbone.wait_for_pass()
        assert backbone.passes == [[7]] and not held.done()
        backbone.release()
        with pytest.raises(ValueError, match="unwell"):
            held.result(30)
