"""Odd files, made here: every legal kind of PNG, TIFF, BMP and JPEG, with the picture that was written."""

import struct
import zlib
from collections.abc import Iterator

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
    encoded,
    grey,
    picture,
    png,
    run_lengths,
    tiff,
)

pyvips = pytest.importorskip("pyvips")
ALPHA = np.broadcast_to(np.linspace(0, 255, 61).round().astype(np.uint8), (43, 61))


def over_white(rgb: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    share = alpha[..., None] / 255
    return (rgb * share + 255 * (1 - share)).round().astype(np.uint8)


def pngs() -> Iterator[tuple[str, bytes, np.ndarray | None]]:
    """Every legal pair of depth and kind; transparency of each kind; declared depths."""
    light, colour = grey(), picture()
    for depth in (1, 2, 4):
        few = light >> (8 - depth)
        yield f"png-grey-{depth}", png(few, depth, GREY), grey_of(few, depth)
        palette = np.random.default_rng(depth).integers(0, 255, (1 << depth, 3), dtype=np.uint8)
        yield f"png-palette-{depth}", png(few, depth, PALETTE, {b"PLTE": palette.tobytes()}), palette[few]
    for depth in (8, 16):
        scale, deep = (257, np.uint16) if depth == 16 else (1, np.uint8)
        values, colours, alpha = light.astype(deep) * scale, colour.astype(deep) * scale, ALPHA.astype(deep) * scale
        yield f"png-grey-{depth}", png(values, depth, GREY), grey_of(light, 8)
        yield f"png-rgb-{depth}", png(colours, depth, RGB), colour
        both = np.stack([values, alpha], axis=-1)
        yield f"png-grey-alpha-{depth}", png(both, depth, GREY_ALPHA), over_white(grey_of(light, 8), ALPHA)
        four = np.concatenate([colours, alpha[..., None]], axis=-1)
        yield f"png-rgba-{depth}", png(four, depth, RGBA), over_white(colour, ALPHA)
        clear = int(values[20, 30])
        key = {b"tRNS": struct.pack(">H", clear)}
        shown = np.where((values == clear)[..., None], 255, grey_of(light, 8)).astype(np.uint8)
        yield f"png-grey-clear-{depth}", png(values, depth, GREY, key), shown
    table = picture(16, 16).reshape(256, 3)
    faint = {b"PLTE": table.tobytes(), b"tRNS": bytes(range(256))}
    yield "png-palette-faint", png(light, 8, PALETTE, faint), over_white(table[light], light)
    yield "png-sbit-high", png(light.astype(np.uint16) * 257, 16, GREY, {b"sBIT": b"\x08"}), grey_of(light, 8)
    yield "png-sbit-low", png(light.astype(np.uint16) * 4, 16, GREY, {b"sBIT": b"\x0a"}), grey_of(light, 8)
    twelve = light.astype(np.uint16) << 4 | light >> 4
    yield "png-sbit-12", png(twelve, 16, GREY, {b"sBIT": b"\x0c"}), grey_of(light, 8)
    dark = {"shifted": twelve // 20 << 4, "scaled": (twelve // 20 * 65_535.0 / 4_095).round().astype(np.uint16)}
    for name, samples in dark.items():  # as the standard has it
        yield f"png-sbit-12-dark-{name}", png(samples, 16, GREY, {b"sBIT": b"\x0c"}), None
    yield "png-palette-missing", png(light, 8, PALETTE), None
    yield from keyed_pngs()
    for bits in (8, 10, 12, 14):
        data = light.astype(np.uint16) << (bits - 8)
        yield f"png-{bits}-in-16", png(data, 16, GREY), None
        yield f"png-rgb-{bits}-in-16", png(picture().astype(np.uint16) << (bits - 8), 16, RGB), None
    yield "png-interlaced", vips_png(colour, interlace=True), colour
    yield "png-text", encoded_with_text(colour), colour


def keyed_pngs() -> Iterator[tuple[str, bytes, np.ndarray | None]]:
    """One colour is transparent, by tRNS, in every depth; so is none that is close to it."""
    light, colour = grey(), picture()
    for depth in (1, 2, 4):
        few = light >> (8 - depth)
        for clear in (0, 1):
            shown = np.where((few == clear)[..., None], 255, grey_of(few, depth)).astype(np.uint8)
            more = clear | 1 << 12  # bits above the depth count for nothing
            yield f"png-grey-clear-{depth}-{clear}", png(few, depth, GREY, {b"tRNS": struct.pack(">H", more)}), shown
    few, dark = light >> 4, light.astype(np.uint16) << 2
    yield (
        "png-grey-clear-4-5",
        png(few, 4, GREY, {b"tRNS": b"\0\5"}),
        np.where((few == 5)[..., None], 255, grey_of(few, 4)).astype(np.uint8),
    )
    yield "png-clear-and-10-in-16", png(np.where(light < 120, 60_000, dark), 16, GREY, {b"tRNS": b"\xea\x60"}), None
    block, shown = colour.copy(), colour.copy()
    block[10:30, 10:40], shown[10:30, 10:40] = (200, 10, 60), 255
    yield "png-rgb-clear-8", png(block, 8, RGB, {b"tRNS": struct.pack(">3H", 200, 10, 60)}), shown
    deep, key = block.astype(np.uint16) * 257, (51_234, 2_600, 15_400)
    for name, lower, is_clear in (("16", 0, True), ("16-near", 3, False)):  # the upper bytes are the same
        deep[10:30, 10:40] = np.array(key) + lower
        seen = shown if is_clear else block
        yield f"png-rgb-clear-{name}", png(deep, 16, RGB, {b"tRNS": struct.pack(">3H", *key)}), seen
        if is_clear:
            other = vips_png_of_16(deep, interlace=True)
            at = other.index(b"IDAT") - 4
            body = b"tRNS" + struct.pack(">3H", *key)
            chunk = struct.pack(">I", 6) + body + struct.pack(">I", zlib.crc32(body))
            yield "png-rgb-clear-16-interlaced", other[:at] + chunk + other[at:], shown


def tiffs() -> Iterator[tuple[str, bytes, np.ndarray | None]]:
    light, colour = grey(), picture()
    for order in "<>":
        end = "little" if order == "<" else "big"
        for bits in (1, 2, 4, 8, 16):
            values = light >> (8 - bits) if bits < 8 else light.astype(np.uint16) * (257 if bits == 16 else 1)
            shown = grey_of(light >> max(0, 8 - bits), min(bits, 8))
            yield f"tiff-grey-{bits}-{end}", tiff(values, bits, order=order), shown
            yield f"tiff-white-is-zero-{bits}-{end}", tiff(values, bits, order=order, photometric=0), 255 - shown
        wide = light.astype(np.uint32) * 0x01010101
        yield f"tiff-uint32-{end}", tiff(wide, 32, order=order), grey_of(light, 8)
        yield f"tiff-rgb-16-{end}", tiff(colour.astype(np.uint16) * 257, 16, order=order, photometric=2), colour
        yield f"tiff-big-{end}", tiff(colour, 8, order=order, photometric=2, big=True), colour
        twelve = (light.astype(np.uint16) << 4) | (light >> 4)
        yield f"tiff-12-packed-{end}", tiff(twelve, 12, order=order), grey_of(light, 8)
    four = np.dstack([colour, ALPHA])
    yield "tiff-alpha", tiff(four, 8, photometric=2, tags={338: [2]}), over_white(colour, ALPHA)
    yield "tiff-alpha-multiplied", tiff(multiplied(four), 8, photometric=2, tags={338: [1]}), over_white(colour, ALPHA)
    yield "tiff-alpha-no-matter", tiff(four, 8, photometric=2, tags={338: [0]}), colour
    unused = np.dstack([colour, np.zeros_like(ALPHA)])
    yield "tiff-alpha-unused", tiff(unused, 8, photometric=2), colour
    for bits in (8, 10, 12, 14):
        yield f"tiff-{bits}-in-16", tiff(light.astype(np.uint16) << (bits - 8), 16), None
        yield f"tiff-rgb-{bits}-in-16", tiff(colour.astype(np.uint16) << (bits - 8), 16, photometric=2), None
    yield "tiff-float", tiff(light.astype(np.float32) / 255, 32, tags={339: [3]}), None
    yield "tiff-double", tiff(light.astype(np.float64) / 255, 64, tags={339: [3]}), None
    yield "tiff-half", tiff(light.astype(np.float16), 16, tags={339: [3]}), None
    for bits in (8, 16, 32):
        yield f"tiff-signed-{bits}", tiff(light.astype(f"<i{bits // 8}"), bits, tags={339: [2]}), None
    yield "tiff-raw-sensor", tiff(light, 8, photometric=32803), None
    yield "tiff-dng", tiff(light, 8, tags={50706: [0x01040000]}), None
    pages = [Image.fromarray(colour), Image.fromarray(255 - colour)]
    yield "tiff-two-pages", encoded(pages[0], "TIFF", save_all=True, append_images=pages[1:]), None
    steps = [*range(256)] * 3
    yield "tiff-palette", tiff(light, 8, photometric=3, tags={320: [n * 257 for n in steps]}), grey_of(light, 8)
    yield "tiff-palette-of-8-bits", tiff(light, 8, photometric=3, tags={320: steps}), grey_of(light, 8)
    sixteen = [n * 17 for n in range(16)] * 3
    yield "tiff-palette-of-8-bits-4", tiff(light >> 4, 4, photometric=3, tags={320: sixteen}), grey_of(light >> 4, 4)
    small = pages[0].resize((15, 10))
    yield "tiff-with-a-small-page", encoded(pages[0], "TIFF", save_all=True, append_images=[small]), colour
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "tiff_deflate"):
        yield f"tiff-{compression}", encoded(colour, "TIFF", compression=compression), colour
    yield "tiff-group4", encoded(Image.fromarray(light).convert("1"), "TIFF", compression="group4"), None
    yield "tiff-lab", encoded(lab(colour), "TIFF"), colour
    yield "tiff-cmyk", encoded(Image.fromarray(colour).convert("CMYK"), "TIFF"), colour
    vips = pyvips.Image.new_from_array(np.ascontiguousarray(picture(300, 200)))
    yield "tiff-tiled", vips.write_to_buffer(".tif", tile=True, compression="lzw", predictor="horizontal"), None
    yield "tiff-pyramid", vips.write_to_buffer(".tif", tile=True, pyramid=True, compression="deflate"), None
    yield "tiff-pyramid-below", vips.write_to_buffer(".tif", tile=True, pyramid=True, subifd=True), None
    yield "tiff-jpeg-tiles", vips.write_to_buffer(".tif", tile=True, compression="jpeg", Q=95), None
    for turn in range(1, 9):
        yield f"tiff-turn-{turn}", tiff(colour, 8, photometric=2, tags={274: [turn]}), None


def bmps() -> Iterator[tuple[str, bytes, np.ndarray | None]]:
    """libvips reads none: compared with what was written."""
    colour, light = picture(), grey()
    for name, bits, masks, steps in (
        ("565", 16, (0xF800, 0x7E0, 0x1F), 32),
        ("555", 16, (0x7C00, 0x3E0, 0x1F), 32),
        ("444", 16, (0xF00, 0xF0, 0xF), 16),
        ("332", 16, (0xE0, 0x1C, 0x3), 4),
        ("bgrx", 32, (0xFF, 0xFF00, 0xFF0000), 256),
        ("101010", 32, (0x3FF00000, 0xFFC00, 0x3FF), 256),
        ("24-of-32", 32, (0xFF0000, 0xFF00, 0xFF), 256),
        ("11-11-10", 32, (0xFFE00000, 0x1FFC00, 0x3FF), 256),
    ):
        del steps
        yield f"bmp-fields-{name}", bmp(by_masks(colour, masks), bits, masks=masks), colour
        yield f"bmp-fields-{name}-down", bmp(by_masks(colour, masks), bits, masks=masks, top_down=True), colour
    argb = (0xFF0000, 0xFF00, 0xFF, 0xFF000000)
    for header in (56, 108, 124):
        four = np.dstack([colour, ALPHA])
        yield f"bmp-alpha-{header}", bmp(by_masks(four, argb), 32, masks=argb, header=header), over_white(colour, ALPHA)
        unused = np.dstack([colour, np.zeros_like(ALPHA)])
        yield f"bmp-alpha-unused-{header}", bmp(by_masks(unused, argb), 32, masks=argb, header=header), colour
    odd = (0xF000, 0xF00, 0xF0, 0xF)
    yield (
        "bmp-alpha-4444",
        bmp(by_masks(np.dstack([colour, ALPHA]), odd), 16, masks=odd, header=56),
        over_white(colour, ALPHA),
    )
    for bits in (1, 2, 4, 8):
        palette = np.random.default_rng(bits).integers(0, 255, (1 << bits, 3), dtype=np.uint8)
        yield f"bmp-palette-{bits}", bmp(light >> (8 - bits), bits, palette=palette), palette[light >> (8 - bits)]
    table = picture(16, 16).reshape(256, 3)
    yield "bmp-rle8", bmp(light, 8, palette=table, data=run_lengths(light), compression=1), table[light]
    for mode in ("1", "L", "P", "RGB"):
        stored = Image.fromarray(colour).convert(mode)
        yield f"bmp-pillow-{mode}", encoded(stored, "BMP"), np.asarray(stored.convert("RGB"))


def jpegs() -> Iterator[tuple[str, bytes, np.ndarray | None]]:
    photo = Image.fromarray(picture(123, 91))
    for name, options in {
        "444": {"subsampling": 0}, "422": {"subsampling": 1}, "420": {"subsampling": 2},
        "progressive": {"progressive": True}, "optimised": {"optimize": True}, "restarts": {"restart_marker_blocks": 3},
        "rgb": {"keep_rgb": True}, "q1": {"quality": 1}, "comment": {"comment": b"\xff\xd9" * 50},
        "profile": {"icc_profile": bytes(range(256)) * 300},
    }.items():  # fmt: skip
        yield f"jpeg-{name}", encoded(photo, "JPEG", **{"quality": 92} | options), None
    yield "jpeg-grey", encoded(photo.convert("L"), "JPEG", quality=92), None
    yield "jpeg-cmyk", encoded(photo.convert("CMYK"), "JPEG", quality=92), np.asarray(photo)
    plain = encoded(photo, "JPEG", quality=92)
    yield "jpeg-no-end", plain[:-2], np.asarray(photo)
    yield "jpeg-trailer", plain + b"\xff\xd8\xff" + bytes(999), None
    yield "jpeg-half", plain[: len(plain) // 2] + b"\xff\xd9", None
    for turn in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = turn
        yield f"jpeg-exif-{turn}", encoded(photo, "JPEG", exif=exif, quality=92), None
        yield f"png-exif-{turn}", encoded(photo, "PNG", exif=exif), None
        yield f"webp-exif-{turn}", encoded(photo, "WEBP", exif=exif, lossless=True), None
        shown = np.asarray(turned(photo, turn))
        for format in ("JPEG", "PNG", "WEBP", "TIFF"):  # libvips reads none of these
            yield f"xmp-{turn}-{format}", encoded(photo, format, **xmp(turn, format)), shown


def others() -> Iterator[tuple[str, bytes, np.ndarray | None]]:
    photo = Image.fromarray(picture(123, 91))
    clear = Image.fromarray(np.dstack([picture(), ALPHA]))
    frames = [photo, photo.transpose(Image.Transpose.ROTATE_180)]
    more = {"save_all": True, "append_images": frames[1:]}
    yield "gif", encoded(photo, "GIF"), None
    yield "gif-animated", encoded(photo, "GIF", **more), None
    yield "gif-clear", encoded(photo.quantize(16), "GIF", transparency=3), None
    yield "gif-grey", encoded(photo.convert("L"), "GIF", interlace=0), None
    yield "webp", encoded(photo, "WEBP", quality=95), None
    yield "webp-alpha", encoded(clear, "WEBP", lossless=True, exact=True), None
    yield "webp-animated", encoded(photo, "WEBP", lossless=True, **more), None
    yield "png-animated", encoded(photo, "PNG", **more), None
    yield "avif", encoded(photo, "AVIF", quality=95), None
    yield "avif-alpha", encoded(clear, "AVIF", quality=100, subsampling="4:4:4"), None
    yield "avif-animated", encoded(photo, "AVIF", quality=95, **more), np.asarray(photo)


def files() -> Iterator[tuple[str, bytes, np.ndarray | None]]:
    """(name, bytes, the picture where we know it). Without one, libvips says what it is."""
    for group in (pngs, tiffs, bmps, jpegs, others):
        yield from group()


def grey_of(values: np.ndarray, bits: int) -> np.ndarray:
    return np.repeat((values.astype(np.float64) * 255 / ((1 << bits) - 1)).round().astype(np.uint8)[..., None], 3, 2)


def multiplied(four: np.ndarray) -> np.ndarray:
    return np.dstack([(four[..., :3] * (four[..., 3:] / 255)).round().astype(np.uint8), four[..., 3]])


def lab(rgb: np.ndarray) -> Image.Image:
    return Image.fromarray(rgb).convert("LAB")


def vips_png(pixels: np.ndarray, **options: object) -> bytes:
    data: bytes = pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).write_to_buffer(".png", **options)
    return data


def vips_png_of_16(pixels: np.ndarray, **options: object) -> bytes:
    image = pyvips.Image.new_from_array(np.ascontiguousarray(pixels)).copy(interpretation="rgb16")
    data: bytes = image.write_to_buffer(".png", **options)
    return data


def encoded_with_text(pixels: np.ndarray) -> bytes:
    """A workflow of 3 MB, and a colour profile that unpacks to 2 MB: Pillow refuses both."""
    from PIL.PngImagePlugin import PngInfo

    text = PngInfo()
    text.add_text("workflow", "lorem ipsum " * 250_000, zip=True)
    return encoded(pixels, "PNG", pnginfo=text, icc_profile=bytes(2_000_000))


def turned(image: Image.Image, orientation: int) -> Image.Image:
    ways = Image.Transpose
    way = {
        2: ways.FLIP_LEFT_RIGHT, 3: ways.ROTATE_180, 4: ways.FLIP_TOP_BOTTOM, 5: ways.TRANSPOSE, 6: ways.ROTATE_270,
        7: ways.TRANSVERSE, 8: ways.ROTATE_90,
    }.get(orientation)  # fmt: skip
    return image if way is None else image.transpose(way)


def xmp(orientation: int, format: str) -> dict[str, object]:
    packet = f'<x:xmpmeta><rdf:Description tiff:Orientation="{orientation}"/></x:xmpmeta>'.encode()
    if format == "PNG":
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_itxt("XML:com.adobe.xmp", packet.decode())
        return {"pnginfo": text}
    if format == "TIFF":
        return {"tiffinfo": {700: packet}}
    return {"xmp": packet} | ({"lossless": True} if format == "WEBP" else {"quality": 95, "subsampling": 0})
