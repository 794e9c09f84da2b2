"""Every format, mode and orientation becomes the same upright RGB; everything else is refused in one sentence."""

import io
import mmap
import struct
import tempfile
import time
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from adapters import modalities
from adapters.errors import ImageTooLarge, InvalidImage
from adapters.modalities import image as modality
from adapters.modalities.image import Preprocessing, jpeg, raster
from adapters.store import schema

SIDE = 32
PREPROCESSING = Preprocessing(SIDE, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
# What a camera would have stored for orientation 1…8, so that each turned back is the same picture (EXIF 2.3, 4.6.4).
STORED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def picture(width: int = 80, height: int = 60) -> Image.Image:
    """Smooth, and different in every corner, so that a wrong turn or flip shows and compression hardly does."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return Image.fromarray((np.stack([x, y, 1 - x * y], axis=-1) * 200 + 20).astype(np.uint8))


def encoded(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def decoded(data: bytes | memoryview) -> np.ndarray:
    return modality.pixels(data, PREPROCESSING)


def plain(image: Image.Image) -> np.ndarray:
    """timm's evaluation transform, written out: resize the shorter side, then crop the centre."""
    side = round(SIDE / PREPROCESSING.crop_pct)
    ratio = side / min(image.size)
    size = (round(image.width * ratio), round(image.height * ratio))
    resized = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC))
    top, left = (resized.shape[0] - SIDE) // 2, (resized.shape[1] - SIDE) // 2
    return resized[top : top + SIDE, left : left + SIDE]


def difference(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


UPRIGHT = decoded(encoded(picture(), "PNG"))


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_every_format_decodes_to_the_same_picture(format: str) -> None:
    data = encoded(picture(), format, quality=95) if format != "BMP" else encoded(picture(), format)
    assert difference(decoded(data), UPRIGHT) < 2
    assert modality.probe(data).facts == {"format": format, "width": 80, "height": 60}


def test_the_result_is_contiguous_uint8_rgb() -> None:
    for data in (encoded(picture(), "JPEG"), encoded(picture(61, 97), "PNG")):
        pixels = decoded(data)
        assert pixels.shape == (SIDE, SIDE, 3) and pixels.dtype == np.uint8 and pixels.flags.c_contiguous


@pytest.mark.parametrize("size", [(80, 60), (61, 97), (640, 427), (1600, 1200), (36, 36), (20, 9)])
def test_decoding_equals_a_plain_resize_and_crop(size: tuple[int, int]) -> None:
    """Cropping before resizing moves the crop by less than a pixel; a scaled JPEG decode costs no detail."""
    source = picture(*size)
    assert difference(decoded(encoded(source, "PNG")), plain(source)) < 3
    assert difference(decoded(encoded(source, "JPEG", quality=95)), plain(source)) < 4


def test_a_photo_with_fine_detail_survives_the_scaled_jpeg_decode() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (75, 100, 3), dtype=np.uint8)
    photo = Image.fromarray(noise).resize((1600, 1200), Image.Resampling.BICUBIC)
    data = encoded(photo, "JPEG", quality=95)
    reference = encoded(Image.open(io.BytesIO(data)), "PNG")  # the same JPEG, decoded in full
    assert difference(decoded(data), decoded(reference)) < 3


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation_is_applied_once(format: str, orientation: int) -> None:
    turn = STORED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture() if turn is None else picture().transpose(turn)
    data = encoded(stored, format, exif=exif, quality=95)
    assert difference(decoded(data), UPRIGHT) < 2


def test_exif_is_found_wherever_it_is_among_the_segments() -> None:
    """Comments and colour profiles may come before it; what only looks like it, after the picture began, is none."""
    exif = Image.Exif()
    exif[0x0112] = 6
    plain, turned = encoded(picture(), "JPEG"), encoded(picture(), "JPEG", exif=exif, comment=b"x" * 60_000)
    comment = b"\xff\xfe\xff\xff" + b"c" * 65_533
    for data in (turned, turned[:2] + 2 * comment + turned[2:]):
        assert jpeg.header(data).turns and jpeg.header(memoryview(data)).turns
    assert not jpeg.header(plain).turns and not jpeg.header(plain + b"Exif\x00\x00").turns
    assert jpeg.header(plain[:20]).turns  # cut off: Pillow shall look


@pytest.mark.parametrize("value", [0, 9, 77, (6, 3), "6", b"x", 2.5])
def test_an_orientation_that_is_none_turns_nothing(value: object) -> None:
    assert raster.turned(picture(), value).size == (80, 60)  # type: ignore[arg-type]


def test_a_broken_exif_block_is_not_a_broken_photo() -> None:
    for exif in (b"Exif\x00\x00garbage", b"Exif\x00\x00MM\x00*\xff\xff\xff\xff"):
        assert difference(decoded(encoded(picture(), "JPEG", exif=exif, quality=95)), UPRIGHT) < 2


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF"])
def test_grey_becomes_three_equal_channels(format: str) -> None:
    pixels = decoded(encoded(picture().convert("L"), format)).astype(int)
    assert np.ptp(pixels, axis=-1).max() <= 3  # lossy WebP stores colour differences even for grey
    assert pixels.std() > 5


@pytest.mark.parametrize("format", ["PNG", "GIF", "BMP", "TIFF"])
def test_a_palette_is_looked_up(format: str) -> None:
    data = encoded(picture().quantize(256), format)
    assert difference(decoded(data), UPRIGHT) < 6


def test_one_bit_images_decode() -> None:
    data = encoded(Image.new("1", (40, 40), 1), "TIFF")
    assert (decoded(data) == 255).all()


def test_transparency_lies_over_white() -> None:
    hidden = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    half = Image.new("RGBA", (40, 40), (0, 0, 0, 128))
    for format in ("PNG", "WEBP", "TIFF"):
        assert (decoded(encoded(hidden, format)) == 255).all()
    assert np.abs(decoded(encoded(half, "PNG")).astype(int) - 127).max() <= 1
    assert (decoded(encoded(Image.new("LA", (40, 40), (0, 0)), "PNG")) == 255).all()


def test_a_transparent_palette_colour_lies_over_white() -> None:
    image = Image.new("P", (40, 40), 0)
    image.putpalette([255, 0, 0] + [0, 0, 0] * 255)
    for format in ("PNG", "GIF"):
        assert (decoded(encoded(image, format, transparency=0)) == 255).all()


def test_cmyk_jpeg_inks_become_light() -> None:
    data = encoded(picture().convert("CMYK"), "JPEG", quality=95)
    assert difference(decoded(data), UPRIGHT) < 3


@pytest.mark.parametrize("format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_keeps_its_range(format: str) -> None:
    ramp = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    pixels = decoded(encoded(Image.fromarray(ramp), format))
    assert difference(pixels, decoded(encoded(Image.fromarray((ramp >> 8).astype(np.uint8)), "PNG"))) < 1


def test_sixteen_bit_big_endian_tiff_keeps_its_range() -> None:
    pixels = decoded(encoded(Image.frombytes("I;16B", (8, 8), b"\x80\x00" * 64), "TIFF"))
    assert (pixels == 128).all()


def test_sixteen_bit_colour_png_keeps_its_range() -> None:
    rows = b"".join(b"\x00" + struct.pack(">3H", 65535, 32768, 0) * 8 for _ in range(8))
    assert np.abs(decoded(png(8, 8, rows, depth=16)).reshape(-1, 3).astype(int) - [255, 128, 0]).max() <= 1


def test_float_pixels_are_refused() -> None:
    data = encoded(Image.fromarray(np.ones((8, 8), dtype=np.float32)), "TIFF")
    for check in (decoded, modality.probe):
        with pytest.raises(InvalidImage, match="float pixels"):
            check(data)


def test_the_first_frame_of_an_animation_counts() -> None:
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue", "lime")]
    for format in ("GIF", "WEBP", "PNG", "AVIF"):
        data = encoded(frames[0], format, save_all=True, append_images=frames[1:], lossless=True)
        assert difference(decoded(data)[0, 0], np.array([255, 0, 0])) < 3


def png(width: int, height: int, rows: bytes, depth: int = 8) -> bytes:
    """A PNG whose header says what it likes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, 2, 0, 0, 0)
    packed = chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + packed + chunk(b"IEND", b"")


def test_a_pixel_bomb_is_refused_before_decoding() -> None:
    bomb = png(30_000, 30_000, bytes(90_001) * 100)
    tracemalloc.start()
    began = time.perf_counter()
    for check in (decoded, modality.probe):
        with pytest.raises(ImageTooLarge, match="30000×30000"):
            check(bomb)
    assert time.perf_counter() - began < 0.5  # seconds; decoding would take many
    assert tracemalloc.get_traced_memory()[1] < 5_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF"])
def test_the_pixel_budget_is_the_callers(format: str) -> None:
    data = encoded(picture(), format)
    for check in (
        lambda: modality.probe(data, most=4_799),
        lambda: modality.pixels(data, PREPROCESSING, most=4_799),
    ):
        with pytest.raises(ImageTooLarge, match="4,799 pixels"):
            check()
    modality.probe(data, most=4_800)


@pytest.mark.parametrize("size", [(1, 1), (3, 100), (100, 3)])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_an_image_with_hardly_a_pixel_is_refused(size: tuple[int, int], format: str) -> None:
    data = encoded(Image.new("RGB", size), format)
    for check in (decoded, modality.probe):
        with pytest.raises(InvalidImage, match="too small"):
            check(data)


def test_the_smallest_side_allowed_decodes() -> None:
    assert decoded(encoded(Image.new("RGB", (4, 400), "red"), "PNG")).shape == (SIDE, SIDE, 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
@pytest.mark.parametrize("kept", [0.1, 0.5, 0.95])
def test_a_truncated_image_is_refused_by_probe_and_decode(format: str, kept: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), format)
    for check in (decoded, modality.probe):
        with pytest.raises(InvalidImage):
            check(data[: int(len(data) * kept)])


@pytest.mark.parametrize(
    "data", [b"", b"x", b"not an image", b"\xff\xd8\xff", b"%PDF-1.7", b"<svg/>", b"\x89PNG\r\n\x1a\n"]
)
def test_what_is_no_image_is_refused(data: bytes) -> None:
    for check in (decoded, modality.probe):
        with pytest.raises(InvalidImage, match=r"not an image|not a readable"):
            check(data)


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(InvalidImage, match="the file is empty"):
        modality.probe(b"")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF"])
def test_damaged_bytes_decode_or_are_refused_but_never_crash(format: str) -> None:
    rng = np.random.default_rng(1)
    sound = encoded(picture(), format)
    for _ in range(60):
        data = bytearray(sound)
        for position in rng.integers(0, len(data), 4):
            data[position] = rng.integers(0, 256)
        for check in (decoded, modality.probe):
            try:
                check(bytes(data))
            except (InvalidImage, ImageTooLarge):
                pass


def test_a_jpeg_that_only_the_strict_decoder_refuses_is_decoded_all_the_same() -> None:
    """What `probe` accepts on upload must not fail the job later."""
    noise = np.random.default_rng(2).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    data = bytearray(encoded(Image.fromarray(noise), "JPEG", quality=80))
    middle = len(data) // 2
    data[middle : middle + 8] = b"\x12\x34\x56\x78" * 2
    modality.probe(bytes(data))
    assert decoded(bytes(data)).shape == (SIDE, SIDE, 3)


def test_views_of_memory_and_of_a_file_decode_as_bytes_do() -> None:
    for format in ("JPEG", "PNG"):
        data = encoded(picture(), format)
        with tempfile.TemporaryFile() as file:
            file.write(b"before" + data + b"after")
            file.flush()
            mapped = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))[6 : 6 + len(data)]
        assert (decoded(mapped) == decoded(data)).all()
        assert (decoded(memoryview(bytearray(data)).toreadonly()) == decoded(data)).all()
        assert modality.probe(mapped) == modality.probe(data)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_thumbnail_is_a_small_upright_jpeg_that_tells_nothing_of_the_camera(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    exif[0x010F] = "Camera"
    data = encoded(Image.new("RGB", (800, 400), (10, 200, 30)), format, exif=exif)
    with Image.open(io.BytesIO(modality.preview(data, 100).data)) as small:
        assert small.format == "JPEG" and small.size == (50, 100)
        assert not small.getexif()
        assert np.abs(np.asarray(small).mean(axis=(0, 1)) - (10, 200, 30)).max() < 6


def test_what_is_no_image_has_no_thumbnail() -> None:
    for data in (b"", b"no image", encoded(picture(), "JPEG")[:300]):
        with pytest.raises(InvalidImage):
            modality.preview(data, 100)
    with pytest.raises(ImageTooLarge):
        modality.preview(encoded(picture(), "PNG"), 100, most=10)


# Views


def test_the_view_that_is_served_stays_as_it_is_among_others():
    data = encoded(picture(), "JPEG", quality=95)
    flipped, centre = views_of(data, ["flip", "centre"])
    np.testing.assert_array_equal(centre, decoded(data))
    np.testing.assert_array_equal(flipped, decoded(data)[:, ::-1])


def test_each_corner_is_seen_closer_than_the_centre():
    """The picture's first channel rises to the right, its second downwards."""
    corners = list(modality.CORNERS)
    looks = dict(zip(corners, views_of(encoded(picture(), "PNG"), corners), strict=True))
    means = {name: look.reshape(-1, 3).mean(axis=0) for name, look in looks.items()}
    for down in ("top", "bottom"):
        assert means[f"{down}-left"][0] + 20 < means[f"{down}-right"][0]
    for side in ("left", "right"):
        assert means[f"top-{side}"][1] + 20 < means[f"bottom-{side}"][1]
    spread = decoded(encoded(picture(), "PNG"))[..., 1].std()
    assert all(look[..., 1].std() < spread and look.shape == (SIDE, SIDE, 3) for look in looks.values())


@pytest.mark.parametrize("orientation", STORED)
def test_views_are_of_the_upright_picture(orientation):
    turn, exif = STORED[orientation], Image.Exif()
    exif[0x0112] = orientation
    stored = picture() if turn is None else picture().transpose(turn)
    files = encoded(stored, "JPEG", exif=exif, quality=95), encoded(picture(), "PNG")
    for look, upright in zip(*(views_of(f, views()) for f in files), strict=True):
        assert difference(look, upright) < 2


def test_every_choice_of_views_has_names_that_the_store_can_keep():
    assert views() and len(views()) == len(set(views()))
    assert all(len(name) <= schema.embeddings.c.view.type.length for name in views())


def test_a_modality_without_views_offers_none():
    assert modalities.views(object()) == {} and modalities.choices(object()) == ("auto", "none")


def views_of(data: bytes, names: list[str]) -> list[np.ndarray]:
    return [look["pixels"] for look in modality.decode_views(data, PREPROCESSING, names)]


def views() -> list[str]:
    return list(dict.fromkeys(view for choice in modality.VIEWS.values() for view in choice))
