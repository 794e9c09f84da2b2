"""Damage is noticed: data that ends early, holes, lost scans. Flaws that say nothing of the picture are none."""

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from adapters.errors import InvalidImage
from adapters.modalities import image as modality
from adapters.modalities.image import Preprocessing, jpeg

PREPROCESSING = Preprocessing(64, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
EOI = b"\xff\xd9"


def photo(width: int = 480, height: int = 360) -> Image.Image:
    """Like a photo: large shapes, and detail everywhere."""
    random = np.random.default_rng(3)
    coarse = Image.fromarray(random.integers(0, 255, (9, 12, 3), dtype=np.uint8)).resize((width, height), 3)
    grain = random.normal(0, 12, (height, width, 3))
    return Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, format: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


PHOTO = photo()
KINDS = {
    "baseline": encoded(PHOTO),
    "optimised": encoded(PHOTO, optimize=True),
    "4:4:4": encoded(PHOTO, subsampling=0, quality=92),
    "grey": encoded(PHOTO.convert("L")),
    "CMYK": encoded(PHOTO.convert("CMYK"), quality=90),
    "progressive": encoded(PHOTO, progressive=True, quality=90),
    "restart markers": encoded(PHOTO, restart_marker_blocks=8),
}


def closed(data: bytes) -> bytes:
    """With an end mark, as uploaders of cameras do that lost the rest."""
    return data + EOI


def decoded(data: bytes) -> np.ndarray:
    return modality.pixels(data, PREPROCESSING)


def refuse(data: bytes, says: str = "not a readable JPEG") -> None:
    for check in (decoded, modality.verify, lambda data: modality.preview(data, 50)):
        with pytest.raises(InvalidImage, match=says):
            check(data)


@pytest.mark.parametrize("kept", [0.1, 0.3, 0.5, 0.7, 0.9, 0.98])
@pytest.mark.parametrize("end", [b"", EOI], ids=["open", "closed"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_jpeg_that_ends_early_is_refused_also_with_an_end_mark(kind: str, end: bytes, kept: float) -> None:
    data = KINDS[kind]
    start = jpeg.header(data).scan  # before it, there is no picture to be cut
    refuse(data[: start + 20 + int((len(data) - start - 20) * kept)] + end)


def test_a_progressive_jpeg_cut_between_two_scans_is_refused() -> None:
    """It decodes without a warning, as a blurred picture."""
    data = KINDS["progressive"]
    starts = [at for at in range(len(data) - 1) if data[at : at + 2] == b"\xff\xda"]
    assert len(starts) > 3
    for start in starts[1:]:
        refuse(closed(data[:start]), "its last scans are missing")


def test_a_jpeg_that_lacks_a_component_is_refused() -> None:
    """One scan for each component: of the colours, nothing came."""
    luma = encoded(PHOTO.convert("L"))
    at = next(at for at in range(len(luma)) if luma[at : at + 2] == b"\xff\xc0")
    three = b"\xff\xc0\x00\x11" + luma[at + 4 : at + 9] + b"\x03\x01\x11\x00\x02\x11\x00\x03\x11\x00"
    refuse(luma[:at] + three + luma[at + 13 :], "its last scans are missing")


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"CMYK"}))
@pytest.mark.parametrize("size", [64, 512, 4096])
def test_a_hole_of_zeros_is_noticed(kind: str, size: int) -> None:
    """A packet or a sector that was lost. Behind it decoding falls into step again, sometimes to the byte."""
    data, missed = KINDS[kind], []
    start = jpeg.header(data).scan + 200
    for at in np.linspace(start, len(data) - size - 100, 12).astype(int):
        try:
            seen = decoded(data[:at] + bytes(size) + data[at + size :])
            missed.append(np.abs(seen.astype(int) - decoded(data)).mean())
        except InvalidImage:
            pass
    # In the last scans of a progressive file zeros are last bits: nothing that anybody sees. Tables made to measure may
    # give zero bits a meaning; where decoding then ends in step, nobody can tell.
    assert len([seen for seen in missed if seen > 3]) <= (2 if kind == "optimised" else 0), missed


def test_a_removed_piece_is_noticed() -> None:
    data, missed = KINDS["baseline"], 0
    for at in np.linspace(2000, len(data) - 3000, 20).astype(int):
        try:
            decoded(data[:at] + data[at + 1000 :])
            missed += 1
        except InvalidImage:
            pass
    assert missed <= 1  # by chance


def test_a_jpeg_sent_as_text_is_refused() -> None:
    """FTP in ASCII mode: each LF became CRLF, or each CRLF became LF."""
    data = KINDS["baseline"]
    refuse(data.replace(b"\n", b"\r\n"))
    refuse(data.replace(b"\x0a", b""))


FLAWS: dict[str, Callable[[bytes], bytes]] = {
    "no end mark": lambda data: data[:-2],
    "half an end mark": lambda data: data[:-1],
    "zeros instead of an end mark": lambda data: data[:-2] + bytes(1000),
    "padding before the end mark": lambda data: data[:-2] + bytes(1000) + EOI,
    "a few bytes before the end mark": lambda data: data[:-2] + b"\x12\x34\x56" + EOI,
    "something behind the end mark": lambda data: data + b"<trailer>" * 100,
    "another picture behind it": lambda data: data + encoded(Image.new("RGB", (64, 64), "red")),
    "a revision of JFIF that nobody knows": lambda data: data.replace(b"JFIF\x00\x01\x01", b"JFIF\x00\x07\x01"),
    "fill bytes before a marker": lambda data: data[:20] + b"\xff\xff\xff" + data[20:],
    "a comment with an end mark in it": lambda data: data[:20] + b"\xff\xfe\x00\x06" + EOI + b"\xff\xda" + data[20:],
}


@pytest.mark.parametrize("kind", ["baseline", "progressive", "grey", "restart markers"])
@pytest.mark.parametrize("flaw", FLAWS)
def test_a_flaw_that_says_nothing_of_the_picture_is_none(flaw: str, kind: str) -> None:
    data = FLAWS[flaw](KINDS[kind])
    assert np.abs(decoded(data).astype(int) - decoded(KINDS[kind])).mean() < 1  # scaled while decoding, or after
    modality.verify(data)


def test_several_flaws_at_once_are_mended_one_after_the_other() -> None:
    data = KINDS["baseline"].replace(b"JFIF\x00\x01\x01", b"JFIF\x00\x07\x01")[:-2] + bytes(500)
    assert np.abs(decoded(data).astype(int) - decoded(KINDS["baseline"])).mean() < 1


def test_an_unknown_transform_of_adobe_is_taken_as_libjpeg_takes_it() -> None:
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"
    data = KINDS["baseline"][:2] + adobe + b"\x07" + KINDS["baseline"][20:]
    assert np.abs(decoded(data).astype(int) - decoded(KINDS["baseline"])).mean() < 1


@pytest.mark.parametrize("options", [{}, {"optimize": True}, {"progressive": True}, {"quality": 20}])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_blank_picture_has_no_hole(mode: str, options: dict[str, object]) -> None:
    """Whole pages of zero bits are what optimised tables make of one colour."""
    for colour in ("white", "black", "grey"):
        data = encoded(Image.new("RGB", (1200, 800), colour).convert(mode), **options)
        assert decoded(data).std() < 2


def test_zeros_outside_of_the_scan_are_no_hole() -> None:
    """Cameras reserve space for later notes, and pad files to whole sectors."""
    data = KINDS["baseline"]
    reserved = data[:20] + b"\xff\xe2\x08\x02" + bytes(2048) + data[20:] + bytes(4096)
    assert (decoded(reserved) == decoded(data)).all()


def test_damage_is_refused_from_memory_as_from_bytes() -> None:
    data = closed(KINDS["baseline"][:9000])
    for view in (memoryview(data), memoryview(bytearray(data))):
        with pytest.raises(InvalidImage, match="premature end"):
            modality.pixels(view, PREPROCESSING)


def test_probe_looks_at_header_and_end_alone() -> None:
    """It costs microseconds; `verify` finds the damage inside."""
    modality.probe(closed(KINDS["baseline"][:9000]))
    with pytest.raises(InvalidImage):
        modality.probe(KINDS["baseline"][:9000])  # no end mark: decoded


# Other formats


@pytest.mark.parametrize("format", ["PNG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_other_formats_that_end_early_are_refused(format: str, kept: float) -> None:
    data = encoded(photo(160, 120), format)
    for check in (decoded, modality.verify, modality.probe):
        with pytest.raises(InvalidImage):
            check(data[: int(len(data) * kept)])


def test_a_png_and_a_gif_cut_in_the_middle_are_refused_also_with_their_end_marks() -> None:
    png, gif = encoded(photo(160, 120), "PNG"), encoded(photo(160, 120), "GIF")
    for data in (png[: len(png) // 2] + png[-12:], gif[: len(gif) // 2] + b"\x00;"):
        for check in (decoded, modality.verify):
            with pytest.raises(InvalidImage):
                check(data)


def test_a_flipped_byte_in_a_png_is_found_without_decoding_it() -> None:
    data = bytearray(encoded(photo(160, 120), "PNG"))
    data[len(data) // 2] ^= 1
    for check in (modality.probe, modality.verify, decoded):
        with pytest.raises(InvalidImage, match="checksum of its chunk IDAT is wrong"):
            check(bytes(data))


def ended_early(data: bytes, share: float) -> bytes:
    """A PNG whose pixels are fewer, and compressed well: every checksum is right."""
    at, packed, kept = 8, b"", data[:8]
    while at < len(data):
        size, kind = int.from_bytes(data[at : at + 4]), data[at + 4 : at + 8]
        packed += data[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        kept += data[at : at + 12 + size] if kind in (b"IHDR", b"PLTE") else b""
        at += 12 + size
    rows = zlib.decompress(packed)
    body = b"IDAT" + zlib.compress(rows[: int(len(rows) * share)])
    return kept + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + data[-12:]


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.75, 1 - 1 / 120, 0.9999])
@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16", "interlaced", "interlaced, odd"])
def test_a_png_whose_pixels_end_early_is_refused_though_its_checksums_are_right(mode: str, share: float) -> None:
    image = photo(160, 121 if mode == "interlaced, odd" else 120)
    if mode.startswith("interlaced"):
        pyvips = pytest.importorskip("pyvips")
        data = pyvips.Image.new_from_array(np.asarray(image)).write_to_buffer(".png", interlace=True, filter="none")
    elif mode == "I;16":
        data = encoded(Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "PNG")
    else:
        data = encoded(image.quantize(64) if mode == "P" else image.convert(mode), "PNG")
    assert (decoded(ended_early(data, 1)) == decoded(data)).all()
    refuse(ended_early(data, share), "not a readable PNG")


def test_a_png_that_ends_in_black_is_read() -> None:
    for mode in ("1", "L", "LA", "RGB", "RGBA", "P"):
        black = photo(160, 120)
        black.paste("black", (0, 60, 160, 120))
        stored = black.quantize(8) if mode == "P" else black.convert(mode)
        assert decoded(encoded(stored, "PNG")).std() > 5
        assert (decoded(encoded(Image.new(mode, (40, 40)), "PNG")).std()) == 0


def test_a_png_without_its_end_mark_is_read() -> None:
    data = encoded(photo(160, 120), "PNG")
    assert (decoded(data[:-12]) == decoded(data)).all()


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "packbits", "raw"])
def test_a_tiff_with_a_strip_that_is_cut_is_refused(compression: str) -> None:
    data = encoded(photo(160, 120), "TIFF", compression=compression)
    for kept in (0.3, 0.8):
        with pytest.raises(InvalidImage):
            decoded(data[: int(len(data) * kept)])


def test_a_jpeg_of_very_many_scans_is_refused_before_it_is_decoded() -> None:
    """Each scan goes over the whole picture: a small file would keep a core busy for minutes."""
    data = KINDS["progressive"]
    last = data.rindex(b"\xff\xda")
    refuse(data[:-2] + data[last:-2] * 200 + EOI, "it has 2.. scans; at most 100 are read")
