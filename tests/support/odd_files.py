"""Writers of odd but legal image files, as cameras, scanners and old programs make them: PNG, TIFF and BMP by hand."""

import io
import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

Array = np.ndarray


def picture(width: int = 61, height: int = 43) -> Array:
    """uint8 [H, W, 3]: smooth, and different in every corner, over the full range."""
    y, x = np.mgrid[0 : 1 : height * 1j, 0 : 1 : width * 1j]
    return (np.stack([x, y, 1 - x * y], axis=-1) * 255).round().astype(np.uint8)


def grey(width: int = 61, height: int = 43) -> Array:
    """uint8 [H, W]."""
    return picture(width, height).mean(axis=-1).round().astype(np.uint8)


def encoded(image: Image.Image | Array, format: str, **options: object) -> bytes:
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, format, **options)
    return file.getvalue()


def packed(samples: Array, bits: int, order: str) -> bytes:
    """Rows of samples [H, N] of so many bits, each row filled up to a whole byte."""
    if bits in (8, 16, 32):
        return samples.astype(f"{order}u{bits // 8}").tobytes()
    wide = (samples[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return np.packbits(wide.reshape(len(samples), -1).astype(np.uint8), axis=1).tobytes()


# PNG

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6


def png(samples: Array, depth: int, colour: int, chunks: Mapping[bytes, bytes] | None = None) -> bytes:
    """Samples [H, W] or [H, W, channels] as they are; `chunks` come before the pixels."""
    height, width = samples.shape[:2]
    rows = packed(samples.reshape(height, -1), depth, ">")
    stride = len(rows) // height
    filtered = b"".join(b"\x00" + rows[at : at + stride] for at in range(0, len(rows), stride))
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [(b"IHDR", header), *(chunks or {}).items(), (b"IDAT", zlib.compress(filtered)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts
    )


# TIFF


def tiff(
    samples: Array,
    bits: int,
    *,
    order: str = "<",
    photometric: int = 1,
    big: bool = False,
    tags: Mapping[int, Sequence[int]] | None = None,
    more: Sequence[bytes] = (),
) -> bytes:
    """One uncompressed strip. Samples [H, W] or [H, W, channels]; `tags` win over the usual ones (all as LONG)."""
    height, width = samples.shape[:2]
    channels = samples.shape[2] if samples.ndim == 3 else 1
    pixels = samples.tobytes() if samples.dtype.kind in "fi" else packed(samples.reshape(height, -1), bits, order)
    start = 16 if big else 8
    entries: dict[int, Sequence[int]] = {
        256: [width], 257: [height], 258: [bits] * channels, 259: [1], 262: [photometric], 273: [start],
        277: [channels], 278: [height], 279: [len(pixels)],
    }  # fmt: skip
    return directory(entries | dict(tags or {}), pixels, order, big)


def directory(entries: Mapping[int, Sequence[int]], pixels: bytes, order: str = "<", big: bool = False) -> bytes:
    """Header, pixels, then one directory."""
    offset, size, count = ("Q", 8, "Q") if big else ("I", 4, "H")
    start = 16 if big else 8
    at = start + len(pixels) + len(pixels) % 2
    mark = b"II" if order == "<" else b"MM"
    head = mark + (struct.pack(order + "HHHQ", 43, 8, 0, at) if big else struct.pack(order + "HI", 42, at))
    after = at + struct.calcsize("<" + count) + len(entries) * (12 + 8 * big) + size
    rows, tail = b"", b""
    for tag, values in sorted(entries.items()):
        body = struct.pack(f"{order}{len(values)}I", *values)
        if len(body) > size:
            place, tail = struct.pack(order + offset, after + len(tail)), tail + body
        else:
            place = body.ljust(size, b"\0")
        rows += struct.pack(order + "HH" + offset, tag, 4, len(values)) + place
    return (head + pixels).ljust(at, b"\0") + struct.pack(order + count, len(entries)) + rows + bytes(size) + tail


# BMP


def bmp(
    pixels: Array,
    bits: int,
    *,
    masks: Sequence[int] = (),
    palette: Array | None = None,
    top_down: bool = False,
    data: bytes | None = None,
    compression: int | None = None,
    header: int = 40,
) -> bytes:
    """Pixels [H, W] as whole numbers (indices, or colours by their masks); `data` in their place where it is packed."""
    height, width = pixels.shape
    rows = pixels if top_down else pixels[::-1]
    if data is None:
        lines = [packed(row[None], bits, "<") for row in rows]
        data = b"".join(line.ljust(-(-len(line) // 4) * 4, b"\0") for line in lines)
    compression = compression if compression is not None else (3 if masks else 0)
    fields = struct.pack(f"<{len(masks)}I", *masks)
    colours = b"" if palette is None else b"".join(bytes([*colour[::-1], 0]) for colour in palette.tolist())
    count = 0 if palette is None else len(palette)
    shape = struct.pack("<Iii", header, width, -height if top_down else height)
    info = shape + struct.pack("<HHIIiiII", 1, bits, compression, len(data), 2835, 2835, count, 0)
    if header > 40:
        info, fields = (info + fields).ljust(header, b"\0"), b""
    body = info + fields + colours
    return b"BM" + struct.pack("<IHHI", 14 + len(body) + len(data), 0, 0, 14 + len(body)) + body + data


def by_masks(rgb: Array, masks: Sequence[int]) -> Array:
    """Colours [H, W, 3 or 4] packed into one number each, by bit masks."""
    value = np.zeros(rgb.shape[:2], np.uint32)
    for band, mask in enumerate(masks):
        low = (mask & -mask).bit_length() - 1
        value |= np.uint32((rgb[..., band].astype(np.float64) * (mask >> low) / 255).round()) << np.uint32(low)
    return value


def run_lengths(indices: Array) -> bytes:
    """RLE8 of rows from the bottom up."""
    out = bytearray()
    for row in indices[::-1].tolist():
        for value in row:
            out += bytes([1, value])
        out += b"\0\0"
    return bytes(out + b"\0\1")
