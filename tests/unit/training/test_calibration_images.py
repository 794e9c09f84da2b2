"""Images to calibrate on: the same crops for everybody, or a folder of the user's own."""

import numpy as np
import pytest
from support.pictures import shape

from adapters.errors import NotEnoughData
from adapters.modalities.image import Preprocessing, calibration

SMALL = Preprocessing(32, 1.0, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def test_crops_are_the_same_every_time_and_differ_from_each_other():
    first, second = calibration.crops(SMALL), calibration.crops(SMALL)
    np.testing.assert_array_equal(first.calibrated, second.calibrated)
    pixels = np.concatenate([first.calibrated, first.held_out])
    assert pixels.shape == (250, 32, 32, 3) and pixels.dtype == np.uint8
    assert len({picture.tobytes() for picture in pixels}) == 250


def test_a_folder_is_divided_and_what_is_no_image_is_passed_over(tmp_path):
    (tmp_path / "deep").mkdir()
    for number in range(25):
        (tmp_path / "deep" / f"{number}.png").write_bytes(shape("circle", number))
    (tmp_path / "readme.txt").write_text("no image")
    found = calibration.folder(tmp_path, SMALL)
    assert (len(found.calibrated), len(found.held_out)) == (20, 5)
    held_out = {picture.tobytes() for picture in found.held_out}
    assert not held_out & {picture.tobytes() for picture in found.calibrated}


def test_too_few_images_are_refused_with_their_number(tmp_path):
    for number in range(19):
        (tmp_path / f"{number}.png").write_bytes(shape("circle", number))
    with pytest.raises(NotEnoughData, match=r"19 images .* at least 20"):
        calibration.folder(tmp_path, SMALL)
