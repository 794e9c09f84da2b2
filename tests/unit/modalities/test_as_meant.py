"""A picture is the one its maker meant: declared depth, previews, pages and turns; what nobody declared is refused."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image
from support.odd_files import (
    GREY,
    GREY_ALPHA,
    PALETTE,
    RGB,
    RGBA,
    bmp,
    by_masks,
    directory,
    encoded,
    grey,
    picture,
    png,
    tiff,
)

from adapters.errors import InvalidImage
from adapters.modalities import image as modality
from adapters.modalities.image import Preprocessing, xmp

PREPROCESSING = Preprocessing(32, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
DARK = "the picture would be nearly black, or it has a range that the file does not declare"


def decoded(data: bytes) -> np.ndarray:
    return modality.pixels(data, PREPROCESSING)


def refuse(data: bytes, says: str) -> None:
    """The same everywhere: serving, training (which verifies, decodes in views) and the report's pictures."""
    for check in (
        decoded,
        modality.verify,
        lambda data: modality.decode_views(data, PREPROCESSING, ["flip"]),
        lambda data: modality.preview(data, 50),
    ):
        with pytest.raises(InvalidImage, match=says):
            check(data)


def shown(data: bytes) -> float:
    return float(decoded(data).mean())


# Depth


@pytest.mark.parametrize("bits", [8, 10, 12, 14])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_a_range_that_nobody_declared_is_refused_in_every_mode(bits: int, channels: int) -> None:
    """Of grey and colour, with and without alpha, which itself uses the full range."""
    low = picture().astype(np.uint16) << (bits - 8)
    full = np.full((43, 61, 1), 65_535, np.uint16)
    samples = {1: low[..., 0], 2: np.dstack([low[..., 0], full]), 3: low, 4: np.dstack([low, full])}[channels]
    refuse(png(samples, 16, {1: GREY, 2: GREY_ALPHA, 3: RGB, 4: RGBA}[channels]), DARK)
    photometric, tags = (
        (1, {338: [2]}) if channels == 2 else (2 if channels > 2 else 1, {338: [2]} if channels == 4 else {})
    )
    if channels != 2:  # Pillow reads no 16-bit grey with alpha from a TIFF, and says so
        refuse(tiff(samples, 16, photometric=photometric, tags=tags), DARK)


def test_a_quarter_of_the_range_is_enough() -> None:
    """The bound is where two bits are never used: the brightest sample decides, one hot pixel or a sun."""
    low = np.full((8, 8), 1000, np.uint16)
    for brightest, is_read in ((16_383, False), (16_384, True), (65_535, True)):
        low[0, 0] = brightest
        for data in (png(low, 16, GREY), tiff(low, 16), tiff(low, 16, order=">")):
            if is_read:
                decoded(data)
            else:
                refuse(data, DARK)


def test_black_is_black_in_every_range() -> None:
    for data in (png(np.zeros((8, 8), np.uint16), 16, GREY), tiff(np.zeros((8, 8), np.uint32), 32)):
        assert (decoded(data) == 0).all()


def test_declared_depth_is_honoured() -> None:
    ten = np.linspace(0, 1023, 64 * 64).round().astype(np.uint16).reshape(64, 64)
    same = decoded(png((ten >> 2).astype(np.uint8), 8, GREY)).astype(int)
    for data in (
        png(ten, 16, GREY, {b"sBIT": b"\x0a"}),  # kept at the low end
        png(ten << 6 | ten >> 4, 16, GREY, {b"sBIT": b"\x0a"}),  # scaled, as the standard has it
        tiff(ten << 2 | ten >> 8, 12),
        tiff(ten.astype(np.uint32) << 22, 32),
    ):
        assert np.abs(decoded(data) - same).max() <= 1


def test_a_wholly_declared_but_dark_depth_is_refused_too() -> None:
    refuse(tiff(np.full((8, 8), 256, np.uint16), 12), "256 of 4,095")


def test_what_the_standard_spreads_over_more_bits_is_not_taken_for_the_low_end() -> None:
    """Of a dark picture of 12 bits; of 15, where one bit is left to tell by."""
    for few in (8, 10, 12, 14, 15):
        dark = np.linspace(0, (1 << few) // 20, 64 * 64).astype(np.uint32).reshape(64, 64)
        repeated = dark << (16 - few) | dark >> max(0, 2 * few - 16)
        for spread in (dark << (16 - few), repeated, (dark * 65_535.0 / ((1 << few) - 1)).round()):
            refuse(png(spread.astype(np.uint16), 16, GREY, {b"sBIT": bytes([few])}), DARK)
        full = np.linspace(0, (1 << few) - 1, 64 * 64).astype(np.uint16).reshape(64, 64)
        assert decoded(png(full, 16, GREY, {b"sBIT": bytes([few])})).max() > 230


def test_what_nobody_sees_has_no_say_in_the_range() -> None:
    """White below full transparency, by alpha or by a key, beside what is nearly black."""
    low = picture().astype(np.uint16) << 2
    low[:20] = 65_535
    seen = np.full((43, 61, 1), 65_535, np.uint16)
    seen[:20] = 0
    key = {b"tRNS": b"\xff" * 6}
    refuse(png(np.dstack([low, seen]), 16, RGBA), DARK)
    refuse(png(np.dstack([low[..., 0], seen]), 16, GREY_ALPHA), DARK)
    refuse(png(low, 16, RGB, key), DARK)
    refuse(png(low[..., 0], 16, GREY, {b"tRNS": b"\xff\xff"}), DARK)
    for nothing in (
        png(np.dstack([low, seen * 0]), 16, RGBA),
        png(np.full_like(low, 1000), 16, RGB, {b"tRNS": bytes([3, 232] * 3)}),
    ):
        assert (decoded(nothing) == 255).all()


def test_a_dark_drawing_on_what_is_clear_is_read() -> None:
    """As Pillow's own i_trns.png has it: samples of 0 to 254 of 16 bits, and 255 is clear."""
    drawn = np.full((20, 20), 255, np.uint16)
    drawn[5:15, 5:15] = np.arange(100).reshape(10, 10)
    shown = decoded(png(drawn, 16, GREY, {b"tRNS": b"\x00\xff"}))
    middle = len(shown) // 2
    assert (shown[0] == 255).all() and (shown[middle, middle] == 0).all()


def test_a_png_of_a_palette_that_is_missing_is_refused() -> None:
    refuse(png(grey(), 8, PALETTE), "a palette that is missing")
    refuse(png(grey(), 8, PALETTE, {b"PLTE": b""}), "a palette that is missing")


@pytest.mark.parametrize("bits", [8, 16, 32])
def test_signed_samples_are_refused(bits: int) -> None:
    refuse(tiff(grey().astype(f"<i{bits // 8}"), bits, tags={339: [2]}), f"signed pixels \\({bits} bits\\)")


@pytest.mark.parametrize("bits", [16, 32, 64])
def test_float_samples_are_refused(bits: int) -> None:
    refuse(tiff(grey().astype(f"<f{bits // 8}"), bits, tags={339: [3]}), "float pixels have no agreed range")


# Polarity and transparency


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_zero_as_white_is_turned_round_at_every_depth(bits: int) -> None:
    light = grey()
    values = light.astype(np.uint16) * 257 if bits == 16 else light >> (8 - bits)
    negative = tiff(values, bits, photometric=0)
    assert np.abs(255 - decoded(negative).astype(int) - decoded(tiff(values, bits))).max() <= 1


def test_the_transparent_grey_of_a_deep_png_is_white() -> None:
    """Pillow's i_trns.png: black on what is transparent, with samples that use few bits."""
    few = np.zeros((40, 40), np.uint16)
    few[:, 20:] = 255
    seen = decoded(png(few, 16, GREY, {b"tRNS": b"\x00\xff"}))
    assert (seen[:, :14] == 0).all() and (seen[:, -14:] == 255).all()


@pytest.mark.parametrize("header", [56, 108, 124])
def test_an_alpha_of_zeros_in_a_bmp_counts_for_nothing(header: int) -> None:
    masks = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    unset = np.dstack([picture(), np.zeros((43, 61), np.uint8)])
    seen = decoded(bmp(by_masks(unset, masks), 32, masks=masks, header=header))
    assert (seen == decoded(encoded(picture(), "PNG"))).all()


def test_a_declared_alpha_of_zeros_is_transparent() -> None:
    unseen = np.dstack([picture(), np.zeros((43, 61), np.uint8)])
    for data in (png(unseen, 8, RGBA), tiff(unseen, 8, photometric=2, tags={338: [2]})):
        assert (decoded(data) == 255).all()
    assert (decoded(tiff(unseen, 8, photometric=2)) == decoded(encoded(picture(), "PNG"))).all()


# Which picture


def with_directories(*made: dict[int, list[int]], below: dict[int, list[int]] | None = None) -> bytes:
    """A TIFF of a small grey picture whose directories say what they like."""
    base = {256: [40], 257: [30], 258: [8], 259: [1], 262: [1], 273: [8], 277: [1], 278: [30], 279: [1200]}
    pixels = bytes(range(240)) * 5
    data = directory(base | made[0], pixels)
    first = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[first : first + 2], "little")
    chain = first + 2 + 12 * count
    for extra in made[1:]:
        part = directory(base | extra, b"")
        start = len(data)
        data = data[:chain] + start.to_bytes(4, "little") + data[chain + 4 :] + part[8:]
        chain = start + len(part) - 8 - 4
    if below is not None:
        at = len(data)
        data += directory(base | below, b"")[8:]
        data = data.replace((0xABCDEF).to_bytes(4, "little"), at.to_bytes(4, "little"), 1)
    return data


def test_a_preview_of_a_camera_raw_is_not_the_photo() -> None:
    """NEF, ARW, PEF: the first picture is small, the photo lies below it."""
    large = {256: [6000], 257: [4000]}
    refuse(with_directories({254: [1], 330: [0xABCDEF]}, below=large), "camera raw .*preview of a larger one")
    refuse(with_directories({330: [0xABCDEF]}, below=large), "camera raw")
    refuse(with_directories({330: [0xABCDEF]}, below={262: [32803]}), "camera raw .unprocessed samples of a sensor")
    refuse(with_directories({254: [1]}, large), "camera raw")


@pytest.mark.parametrize("tags", [{50706: [0x01040000]}, {262: [32803]}, {262: [34892]}])
def test_a_dng_is_called_a_camera_raw(tags: dict[int, list[int]]) -> None:
    refuse(with_directories(tags), "camera raw")


def test_of_several_full_pages_none_is_chosen() -> None:
    refuse(with_directories({}, {}, {}), "the TIFF has 3 pages")
    pages = [Image.fromarray(picture()), Image.fromarray(255 - picture())]
    refuse(encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), "the TIFF has 2 pages")


def test_previews_reduced_copies_and_masks_beside_a_page_are_passed_over() -> None:
    plain = decoded(with_directories({}))
    for extra in ({254: [1], 256: [20], 257: [15]}, {254: [4]}, {256: [10], 257: [8]}):
        assert (decoded(with_directories({}, extra)) == plain).all()
    assert (decoded(with_directories({330: [0xABCDEF]}, below={256: [20], 257: [15]})) == plain).all()


def test_directories_that_go_in_a_circle_end() -> None:
    data = bytearray(with_directories({}))
    first = int.from_bytes(data[4:8], "little")
    data[-4:] = first.to_bytes(4, "little")
    decoded(bytes(data))


# Turns


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
def test_an_orientation_in_xmp_alone_turns_for_the_model_and_for_the_report(format: str) -> None:
    packet = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    stored = Image.fromarray(picture()).transpose(Image.Transpose.ROTATE_90)
    options: dict[str, object] = {"xmp": packet, "quality": 95}
    if format == "PNG":
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
        options = {"pnginfo": text}
    data = encoded(stored, format, **options)
    assert np.abs(decoded(data).astype(int) - decoded(encoded(picture(), "PNG"))).mean() < 3
    with Image.open(io.BytesIO(modality.preview(data, 50).data)) as small:
        assert small.width > small.height


DESCRIBED = "<x:xmpmeta><rdf:Description {}/></x:xmpmeta>"
OTHER_SPACE = "xmlns:tiff='http://example.com/' xmlns:t='http://ns.adobe.com/tiff/1.0/' t:Orientation='6'"
PACKETS = {
    "single quotes": DESCRIBED.format("tiff:Orientation='6'"),
    "spaces": DESCRIBED.format('tiff:Orientation\n = "6"'),
    "element": "<x:xmpmeta><tiff:Orientation>\n 6 </tiff:Orientation></x:xmpmeta>",
    "element with attributes": '<x:xmpmeta><tiff:Orientation rdf:datatype="int">6</tiff:Orientation></x:xmpmeta>',
    "another prefix": DESCRIBED.format(OTHER_SPACE),
    "a comment": "<x:xmpmeta><!-- tiff:Orientation='3' -->" + DESCRIBED.format("tiff:Orientation='6'"),
    "utf-16": DESCRIBED.format('note="\u4e00\u732b" tiff:Orientation="6"').encode("utf-16"),
    "utf-16-be": DESCRIBED.format("tiff:Orientation='6'").encode("utf-16-be"),
    "utf-32": DESCRIBED.format("tiff:Orientation='6'").encode("utf-32"),
}


def with_xmp(image: Image.Image, format: str, packet: str | bytes, **options: object) -> bytes:
    body = packet if isinstance(packet, bytes) else packet.encode()
    if format == "PNG":
        data = encoded(image, "PNG", **options)
        chunk = b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + body
        return data[:33] + struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)) + data[33:]
    if format == "TIFF":  # EXIF's orientation is a tag of its own
        return encoded(image, format, tiffinfo={700: body, **dict(options.get("exif", {}))})  # type: ignore[call-overload]
    return encoded(image, format, **{"quality": 95, "xmp": body} | options)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("way", PACKETS)
def test_xmp_turns_however_it_is_written(way: str, format: str) -> None:
    stored = Image.fromarray(picture()).transpose(Image.Transpose.ROTATE_90)
    data, upright = with_xmp(stored, format, PACKETS[way]), decoded(encoded(picture(), "PNG")).astype(int)
    assert np.abs(decoded(data) - upright).mean() < 3
    (flipped,) = modality.decode_views(data, PREPROCESSING, ["flip"])  # as it is trained on
    assert np.abs(flipped["pixels"][:, ::-1] - upright).mean() < 3


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_the_orientation_of_exif_wins_and_is_applied_once(format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    stored = Image.fromarray(picture()).transpose(Image.Transpose.ROTATE_90)
    for packet in (PACKETS["single quotes"], PACKETS["single quotes"].replace("6", "3")):
        data = with_xmp(stored, format, packet, exif=exif)
        assert np.abs(decoded(data).astype(int) - decoded(encoded(picture(), "PNG"))).mean() < 3


@pytest.mark.parametrize(
    "packet",
    [
        DESCRIBED.format("exif:Orientation='6'"),
        DESCRIBED.format("tiff:Orientation='16'"),
        "<tiff:Orientation/>6<",
        "</tiff:Orientation>6</x>",
        "<!DOCTYPE x [<!ENTITY six '6'>]><tiff:Orientation>&six;</tiff:Orientation>",
    ],
)
def test_what_is_no_orientation_turns_nothing(packet: str) -> None:
    assert xmp.orientation(packet.encode()) is None


@pytest.mark.parametrize(
    "part", [b"tiff:Orientation ", b"<!--", b"http://ns.adobe.com/tiff/1.0/", b"\0:Orientation>\0"]
)
def test_a_hostile_packet_of_xmp_takes_no_time(part: bytes) -> None:
    packet = part * ((8 << 20) // len(part))
    before = time.process_time()
    assert xmp.orientation(packet) is None
    assert time.process_time() - before < 2  # seconds; a tenth here


def test_xmp_without_an_orientation_leaves_a_jpeg_on_the_fast_path() -> None:
    plain = encoded(picture(), "JPEG", quality=95)
    noted = encoded(picture(), "JPEG", quality=95, xmp=b"<x:xmpmeta><dc:title>Orient</dc:title></x:xmpmeta>")
    assert not modality.jpeg.header(noted).turns
    assert (decoded(noted) == decoded(plain)).all()


# Metadata of any size


def test_a_png_with_large_texts_and_profiles_is_read() -> None:
    """Workflows of image generators, XMP of Photoshop, profiles of printers; before the pixels and behind them."""
    from PIL.PngImagePlugin import PngInfo

    for options in (
        {"pnginfo": _texts(PngInfo(), zip=True)},
        {"pnginfo": _texts(PngInfo(), zip=False)},
        {"icc_profile": bytes(range(256)) * 10_000},
    ):
        data = encoded(picture(), "PNG", **options)
        assert (decoded(data) == decoded(encoded(picture(), "PNG"))).all()
        modality.probe(data)
    behind = encoded(picture(), "PNG", pnginfo=_texts(PngInfo(), zip=True))
    start, end = behind.index(b"zTXt") - 4, behind.index(b"IDAT") - 4
    moved = behind[:start] + behind[end:-12] + behind[start:end] + behind[-12:]
    assert (decoded(moved) == decoded(behind)).all()


def _texts(info: object, zip: bool) -> object:
    info.add_text("workflow", "lorem ipsum " * 200_000, zip=zip)  # type: ignore[attr-defined]
    return info
