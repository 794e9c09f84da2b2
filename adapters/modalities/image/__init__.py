"""Images: bytes → uint8 RGB pixels, the same way for training and for serving.

JPEG goes through libjpeg-turbo (simplejpeg), which also scales while it decodes; everything else through Pillow.
Chosen by measurement: `benchmarks/decode.py`, figures in docs/benchmarks.md. Resizing stays with Pillow because its
filters anti-alias as timm's training transforms do; OpenCV's bicubic does not, and that would be skew.

`formats` says what bytes are; `jpeg` what damage is; `png`, `tiff`, `bmp` and `xmp` what a file declares; `samples`
makes RGB of it, `keys` finds what one colour makes transparent; `raster` drives Pillow; `memory` bounds what decodes
take; `views` cuts out.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from PIL import Image

from adapters.errors import InvalidImage
from adapters.modalities.image import formats, jpeg, memory, raster, views
from adapters.modalities.image.formats import FORMATS, SUFFIXES, recognise
from adapters.modalities.image.raster import MIN_SIDE
from adapters.modalities.image.spec import Pixels, Preprocessing
from adapters.modalities.image.tensors import NAME, collate, fingerprint, inputs, load, trial
from adapters.modalities.image.views import CORNERS, VIEWS
from adapters.types import Preview, Probed, Tensors

__all__ = ["CORNERS", "FORMATS", "MIN_SIDE", "NAME", "SUFFIXES", "VIEWS", "Pixels", "Preprocessing"]
__all__ += ["collate", "fingerprint", "inputs", "load", "recognise", "trial"]

NOUN, FIELD, UNIT = "image", "images", "pixels"
MOST = 64_000_000  # pixels: a 61 MP photo passes; what a decode of it may take is in memory.py
MEDIA_TYPES = ("image/*",)
COPIES = "Copies of one picture, re-encoded, resized or slightly cropped."  # what near-duplicates are, for reports
Spec = Preprocessing
WITH_ALPHA = 4  # channels
_PLAIN_JPEG = 8  # bytes for a pixel that comes out: 4 that libjpeg and Pillow share, and 4 when it is turned
_SMALL_JPEG = memory.SMALL // _PLAIN_JPEG  # pixels


def sniff(data: bytes | memoryview) -> bool:
    """Whether bytes begin as one of the formats does that are read."""
    try:
        return bool(recognise(data))
    except InvalidImage:
        return False


def probe(data: bytes | memoryview, *, most: int = MOST) -> Probed:
    """Check format, size and end of file; decode in full only where the end looks cut off.

    Costs microseconds for a sound file. Its facts are {"format", "width", "height"}. Raises InvalidImage,
    ImageTooLarge.
    """
    facts = _looked_at(data, most)
    return Probed(facts, facts["width"] * facts["height"])


def _looked_at(data: bytes | memoryview, max_pixels: int) -> dict[str, Any]:
    kind = recognise(data)
    if kind == "JPEG" and (found := jpeg.size(data)) is not None and _ends_well(data, kind):
        raster.check_size(*found, max_pixels)
        return {"format": kind, "width": found[0], "height": found[1]}
    return verify(data, most=max_pixels) if not _ends_well(data, kind) else _facts(data, kind, max_pixels)


def verify(data: bytes | memoryview, *, most: int = MOST) -> dict[str, Any]:
    """Decode and keep nothing: what passes, `decode` reads. A JPEG costs about half of its decoding, others all of it.

    Returns {"format", "width", "height"}. Raises InvalidImage, ImageTooLarge.
    """
    kind = recognise(data)
    if kind == "JPEG" and (found := jpeg.size(data)) is not None:
        raster.check_size(*found, most)
        with _held_for_jpeg(jpeg.header(data), 1, found, most):
            if jpeg.complaint(data) is None and not jpeg.is_ink(data):
                return {"format": kind, "width": found[0], "height": found[1]}
    with _by_pillow(data, kind, most):
        return _facts(data, kind, most)


def effort(facts: dict[str, Any]) -> int:
    """What `verify` took beside reading the bytes, in pixels decoded: a JPEG is decoded on the smallest scale."""
    pixels = int(facts["width"] * facts["height"])
    return pixels // 8 if facts["format"] == "JPEG" else pixels


def media_type(data: bytes) -> str:
    """The media type of an image by its bytes; what we do not know is only bytes."""
    try:
        return f"image/{recognise(data).lower()}"
    except InvalidImage:
        return "application/octet-stream"


def decode(data: bytes | memoryview, spec: Preprocessing, *, most: int = MOST) -> Tensors:
    """Bytes → {"pixels": uint8 [size, size, C]}: RGB, grey or RGBA as the backbone reads, orientation applied, resized
    and cropped as it was trained.

    Raises InvalidImage, also for one without an alpha channel where that is read; ImageTooLarge.
    """
    return {NAME: pixels(data, spec, most=most)}


def pixels(data: bytes | memoryview, spec: Preprocessing, *, most: int = MOST) -> Pixels:
    """The same without its name."""
    if (plain := _plain_jpeg(data, spec, most)) is not None:
        return views.centre(plain, spec)
    with _picture(data, spec, most) as image:
        return views.centre(image, spec)


def decode_views(
    data: bytes | memoryview, spec: Preprocessing, names: Sequence[str], *, most: int = MOST
) -> list[Tensors]:
    """Bytes → the views of those names, as `decode` gives one, from one decode. Raises as `decode` does."""
    with _picture(data, spec, most) as image:
        return [{NAME: views.view(image, spec, name)} for name in names]


def preview(data: bytes | memoryview, side: int, *, most: int = MOST) -> Preview:
    """A JPEG of at most side × side pixels for people to look at: upright, without the photo's metadata.

    Raises InvalidImage, ImageTooLarge.
    """
    out = io.BytesIO()
    with _by_pillow(data, recognise(data), most, need=2 * side) as small:
        small.thumbnail((side, side))
        Image.frombytes("RGB", small.size, small.tobytes()).save(out, "JPEG", quality=80)
    return Preview("image/jpeg", out.getvalue())


def _plain_jpeg(data: bytes | memoryview, preprocessing: Preprocessing, max_pixels: int) -> Image.Image | None:
    """What `_picture` gives of an upright JPEG so small that nobody waits for its memory; None for any other.

    Most photos are such, and beside the backbone in other threads each step in Python takes several times as long.
    """
    if data[:3] != jpeg.MAGIC or preprocessing.channels == WITH_ALPHA:
        return None
    head = jpeg.header(data)
    pixels = head.width * head.height
    if head.turns or head.scans or not 0 < pixels <= min(_SMALL_JPEG, max_pixels):
        return None
    raster.check_size(head.width, head.height, max_pixels)
    return jpeg.fast(data, head, _enough(preprocessing))


def _enough(preprocessing: Preprocessing) -> int:
    """Pixels a side: twice what we resize to, so that libjpeg's scaled decode costs no detail that the resize keeps."""
    return round(2 * preprocessing.size / preprocessing.crop_pct)


@contextmanager
def _picture(data: bytes | memoryview, preprocessing: Preprocessing, max_pixels: int) -> Iterator[Image.Image]:
    """Upright RGB, or RGBA where that is read, with as many pixels as views need; its memory is held as long."""
    kind = recognise(data)
    if preprocessing.channels == WITH_ALPHA:
        with _by_pillow(data, kind, max_pixels, alpha=True) as whole:
            yield whole
        return
    if kind == "JPEG" and (found := (head := jpeg.header(data)).size) is not None:
        raster.check_size(*found, max_pixels)
        need = _enough(preprocessing)
        with _held_for_jpeg(head, need, found, max_pixels):
            if (image := jpeg.fast(data, head, need)) is not None:
                yield from raster.then_freed(_upright(image, data, head))
                return
    with _by_pillow(data, kind, max_pixels) as image:
        yield image


def _upright(image: Image.Image, data: bytes | memoryview, head: jpeg.Header) -> Image.Image:
    return raster.turned(image, raster.orientation(data, "JPEG")) if head.turns else image


def _held_for_jpeg(
    head: jpeg.Header, need: int, size: tuple[int, int], max_pixels: int
) -> AbstractContextManager[None]:
    jpeg.refuse_many_scans(head)
    cost = head.coefficients + _PLAIN_JPEG * jpeg.scaled_pixels(*size, need)
    return memory.held(cost, max_pixels, size, "JPEG")


@contextmanager
def _by_pillow(
    data: bytes | memoryview, kind: str, max_pixels: int, need: int | None = None, alpha: bool = False
) -> Iterator[Image.Image]:
    if kind == "JPEG":
        data = jpeg.mended(data)
    with raster.decoded(data, kind, max_pixels, need, alpha) as image:
        yield image


def _facts(data: bytes | memoryview, kind: str, max_pixels: int) -> dict[str, Any]:
    width, height = raster.size(data, kind)
    raster.check_size(width, height, max_pixels)
    return {"format": kind.upper(), "width": width, "height": height}


def _ends_well(data: bytes | memoryview, kind: str) -> bool:
    """True when the file's own end mark is where it belongs."""
    tail = bytes(data[-64:])
    if kind == "JPEG":
        return tail.rstrip(b"\x00").endswith(b"\xff\xd9")
    if kind == "PNG":
        return b"IEND" in tail
    if kind == "GIF":
        return tail.rstrip(b"\x00").endswith(b";")
    if kind == "WebP":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    if kind in ("AVIF", "HEIC"):
        return formats.has_whole_boxes(data)
    return False  # the others have no end mark: decode to be sure
