"""A folder of odd files: each is the picture that libvips shows, or the one that was written, or refused.

The files are made in support/odd_pictures.py; counts of read, refused and different are printed (`pytest -s`). None
may differ without a reason that stands in `DIFFERENT`. More files are compared where ESPALIER_TEST_ODD_FILES names a
folder of them.
"""

import functools
import os
import tarfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from support.odd_pictures import files

from adapters.errors import InvalidInput
from adapters.modalities.image import formats, jpeg, raster

pyvips = pytest.importorskip("pyvips")
FIXTURES = Path(__file__).parents[2] / "fixtures"
CLOSE = 3.0  # grey levels on average: decoders round chroma, transparency and depth in their own ways
# Ours, libvips's, and why they are not the same.
DIFFERENT = {
    "png-sbit-low": "libvips knows no sBIT: it shows 10 bits in 16 nearly black",
    "png-sbit-12": "the same",
    "tiff-alpha-no-matter": "libvips takes a fourth sample of unspecified meaning (ExtraSamples 0) for transparency",
    "tiff-alpha-unused": "libvips takes an undeclared fourth sample of zeros for transparency",
}


def ours(data: bytes) -> np.ndarray:
    """uint8 [H, W, 3] in full size, by the very steps of the modality; raises InvalidInput."""
    kind = formats.recognise(data)
    if kind == "JPEG":
        head = jpeg.header(data)
        if (fast := jpeg.fast(data, head, 10**6)) is not None:
            return np.asarray(raster.turned(fast, raster.orientation(data, kind)) if head.turns else fast)
        data = bytes(jpeg.mended(data))
    with raster.decoded(data, kind, 10**8) as image:
        return np.asarray(image).copy()


def theirs(data: bytes) -> np.ndarray | None:
    """The same of libvips: turned, over white, 8 bits; None where it cannot."""
    try:
        image = pyvips.Image.new_from_buffer(data, "", fail_on="error").autorot()
        if image.format == "uint":
            image = (image >> 24).cast("uchar").copy(interpretation="b-w")
        if image.interpretation == "cmyk":
            return inks(image.numpy())
        image = image if image.interpretation in ("srgb", "b-w") else image.colourspace("srgb")
        image = image.flatten(background=255) if image.hasalpha() else image
        pixels = np.asarray(image.cast("uchar").numpy())
    except pyvips.Error:
        return None
    pixels = pixels.reshape(pixels.shape[0], pixels.shape[1], -1)
    return np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels[..., :3]


def inks(cmyk: np.ndarray) -> np.ndarray:
    """Without a profile, as Pillow does: libvips would apply one of its own."""
    light = 255 - cmyk.astype(np.float64)
    return (light[..., :3] * light[..., 3:] / 255).round().astype(np.uint8)


def far(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape != b.shape or float(np.abs(a.astype(int) - b).mean()) > CLOSE


REFUSED = (
    "in-16",
    "tiff-float",
    "tiff-double",
    "tiff-half",
    "tiff-signed",
    "tiff-raw",
    "tiff-dng",
    "two-pages",
    "half",
    "sbit-12-dark",
    "palette-missing",
)


ALL = {name: (data, shown) for name, data, shown in files()}


@functools.cache
def seen(name: str) -> np.ndarray | InvalidInput:
    """What we read; or why not."""
    try:
        return ours(ALL[name][0])
    except InvalidInput as error:
        return error


@functools.cache
def other(name: str) -> np.ndarray | None:
    return theirs(ALL[name][0])


@pytest.mark.parametrize("name", ALL)
def test_an_odd_file_is_the_picture_that_was_meant_or_refused(name: str) -> None:
    written, read, shown = ALL[name][1], seen(name), other(name)
    refused = any(part in name for part in REFUSED) or name in UNREAD
    if isinstance(read, InvalidInput):
        assert refused, read.message
        return
    assert not refused and (written is not None or shown is not None), "there is nothing to compare it with"
    if name not in DIFFERENT and shown is not None and not name.startswith("xmp"):
        assert not far(read, shown), (
            np.abs(read.astype(int) - shown).mean() if read.shape == shown.shape else shown.shape
        )
    if written is not None:
        assert not far(read, written) or rough(name, read, written)


def test_the_guide_has_these_counts() -> None:
    """Of those that libvips shows otherwise, each has its reason."""
    read = {name: found for name in ALL if not isinstance(found := seen(name), InvalidInput)}
    compared = {name: shown for name in read if (shown := other(name)) is not None}
    different = [name for name in DIFFERENT if name in compared and far(read[name], compared[name])]
    counts = f"{len(ALL)} odd files", f"{len(read)} read, {len(ALL) - len(read)} refused"
    counts += (f"{len(compared)} compared with libvips, {len(different)} of them different",)
    print("\n", *counts, sep="; ")
    guide = " ".join((Path(__file__).parents[3] / "docs/guides/images.md").read_text().split())
    assert all(count in guide for count in counts), counts


# Refused with the decoder's reason: a kind that is not supported, and no other picture.
UNREAD = {
    "tiff-big-big": "Pillow knows BigTIFF in one order alone",
    "tiff-12-packed-big": "Pillow knows packed 12 bits in one order alone",
    "tiff-uint32-big": "the same of 32 bits without sign",
    "tiff-white-is-zero-16-big": "the same",
}


def rough(name: str, seen: np.ndarray, written: np.ndarray) -> bool:
    """Few bits of colour: the steps are coarser than CLOSE."""
    coarse = {"332": 40, "444": 9, "555": 5, "565": 5, "tiff-lab": 6, "tiff-jpeg": 4}
    return seen.shape == written.shape and any(
        part in name and float(np.abs(seen.astype(int) - written).mean()) < most for part, most in coarse.items()
    )


def test_pngsuite_differs_nowhere(tmp_path: Path) -> None:
    """All of it: 14 files are broken on purpose, 6 are smaller than 4 pixels a side."""
    with tarfile.open(FIXTURES / "pngsuite.tar.xz") as archive:  # (c) Willem van Schaik; its licence is in it
        archive.extractall(tmp_path, filter="data")
    counts, different = compared(sorted(tmp_path.glob("*.png")))
    assert counts == {"read": 155, "compared with libvips": 155, "refused": 20} and not different


@pytest.mark.skipif(
    "ESPALIER_TEST_ODD_FILES" not in os.environ, reason="a folder of odd files, ESPALIER_TEST_ODD_FILES"
)
def test_a_folder_of_odd_files_differs_nowhere() -> None:
    found = sorted(Path(os.environ["ESPALIER_TEST_ODD_FILES"]).rglob("*"))
    counts, different = compared([path for path in found if path.is_file()])
    print(dict(counts), different)
    assert not different


def compared(paths: Sequence[Path]) -> tuple[Counter[str], list[tuple[str, object]]]:
    """How many were read and refused; names of those that libvips shows otherwise, and by how much."""
    counts, different = Counter[str](), list[tuple[str, object]]()
    for path in paths:
        data = path.read_bytes()
        try:
            seen = ours(data)
        except InvalidInput as error:
            counts["refused"] += 1
            print(f"{path.name}: {error.message}")
            continue
        counts["read"] += 1
        other = theirs(data)
        counts["compared with libvips"] += other is not None
        if other is not None and far(seen, other):
            by = np.abs(seen.astype(int) - other).mean() if seen.shape == other.shape else (seen.shape, other.shape)
            different.append((path.name, by))
    return counts, different
