"""Images: bytes → uint8 RGB pixels, the same way for training and for serving.

JPEG goes through libjpeg-turbo (simplejpeg), which also scales while it decodes; everything else through Pillow.
Chosen by measurement: `benchmarks/decode.py`, figures in docs/benchmarks.md. Resizing stays with Pillow because its
filters anti-alias as timm's training transforms do; OpenCV's bicubic does not, and that would be skew.
"""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import simplejpeg
from PIL import Image, ImageOps

from adapters.errors import ImageTooLarge, InvalidImage
from adapters.types import Pixels, Preprocessing

MIN_SIDE = 4  # pixels; a 1×1 image has nothing to learn from and breaks the crop
MAX_PIXELS = 64_000_000  # a 61 MP photo passes; 192 MB of RGB is the most one decode may take
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
EXIF_ORIENTATION = 0x0112
JPEG = b"\xff\xd8\xff"  # how one begins
START_OF_SCAN, APP1 = 0xDA, 0xE1  # markers: the picture itself, after all segments; the segment that may hold EXIF
CORNERS = {"top-left": (0.0, 0.0), "top-right": (1.0, 0.0), "bottom-left": (0.0, 1.0), "bottom-right": (1.0, 1.0)}
CORNER_SIDE = 0.75  # of the shorter side: closer than what is served, and each sees what the others do not
FLIP = "flip"  # what is served, mirrored left to right
VIEWS = {"all": (*CORNERS, FLIP), "crops": tuple(CORNERS), "flip": (FLIP,)}  # choices: see adapters/modalities
_RESAMPLE = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
# Pillow's own bomb guard counts pixels process-wide; ours is per call, before decoding, with a message for the caller.
Image.MAX_IMAGE_PIXELS = None
# Odd metadata is not the caller's problem. Once for all: `catch_warnings` is not safe among threads.
warnings.filterwarnings("ignore", module=r"PIL\.")


def probe(data: bytes | memoryview, *, max_pixels: int = MAX_PIXELS) -> dict[str, Any]:
    """Check format, size and end of file; decode in full only where the end looks cut off.

    Costs microseconds for a sound file, so that an upload of thousands is checked before it is accepted.
    Returns {"format", "width", "height"}. Raises InvalidImage, ImageTooLarge.
    """
    if (size := _jpeg_size(data)) is not None and _ends_well(data, "JPEG"):
        _check_size(*size, max_pixels)
        return {"format": "JPEG", "width": size[0], "height": size[1]}
    with _opened(data) as image:
        facts = {"format": image.format, "width": image.width, "height": image.height}
        _check_size(image.width, image.height, max_pixels)
        if not _ends_well(data, str(image.format)):
            _to_rgb(image)
    return facts


def media_type(data: bytes) -> str:
    """The media type of an image by its bytes; what we do not know is only bytes."""
    try:
        with _opened(data) as image:
            return f"image/{str(image.format).lower()}"
    except InvalidImage:
        return "application/octet-stream"


def decode(data: bytes | memoryview, preprocessing: Preprocessing, *, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Bytes → uint8 [size, size, 3] RGB: orientation applied, resized and cropped as the backbone was trained.

    Raises InvalidImage, ImageTooLarge.
    """
    return _centre(_opened_for(data, preprocessing, max_pixels), preprocessing)


def decode_views(
    data: bytes | memoryview, preprocessing: Preprocessing, names: Sequence[str], *, max_pixels: int = MAX_PIXELS
) -> list[Pixels]:
    """Bytes → the views of those names, uint8 [size, size, 3] each, from one decode. Raises as `decode` does."""
    image = _opened_for(data, preprocessing, max_pixels)
    return [_view(image, preprocessing, name) for name in names]


def thumbnail(data: bytes | memoryview, side: int, *, max_pixels: int = MAX_PIXELS) -> bytes:
    """Bytes → a JPEG of at most side × side pixels for people to look at: upright, without the photo's metadata.

    Raises InvalidImage, ImageTooLarge.
    """
    small = _decode_other(data, max_pixels, need=2 * side)
    small.thumbnail((side, side))
    out = io.BytesIO()
    small.save(out, "JPEG", quality=80)
    return out.getvalue()


def _jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """(width, height) of a sound JPEG by its header, in a tenth of the time that Pillow takes; else None."""
    if bytes(data[:3]) != JPEG:
        return None
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return width, height


def _decode_jpeg(data: bytes | memoryview, preprocessing: Preprocessing, max_pixels: int) -> Image.Image | None:
    """The fast path; None for what is not a plain, sound, grey or colour JPEG: Pillow, as in `probe`, judges those."""
    if bytes(data[:3]) != JPEG:
        return None
    try:
        height, width, colorspace, _ = simplejpeg.decode_jpeg_header(data)
        _check_size(width, height, max_pixels)
        if colorspace not in ("RGB", "YCbCr", "Gray"):
            return None  # CMYK and YCCK: Pillow knows Adobe's inverted inks
        # Twice the size we resize to: libjpeg's scaled decode then costs no detail that the resize would keep.
        need = round(2 * preprocessing.size / preprocessing.crop_pct)
        array = simplejpeg.decode_jpeg(data, min_height=need, min_width=need)
    except ValueError:  # also rare subsampling, and flaws that every viewer shrugs off
        return None
    return _upright(Image.fromarray(array), data)


def _upright(image: Image.Image, data: bytes | memoryview) -> Image.Image:
    if not _may_have_exif(data):
        return image
    with _opened(data) as header:
        orientation = _orientation(header)
    if orientation in (None, 1):
        return image
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    image.info["exif"] = exif.tobytes()
    return ImageOps.exif_transpose(image)


def _may_have_exif(data: bytes | memoryview) -> bool:
    """False for a JPEG without EXIF among its segments, of which only the first bytes are read: a few µs."""
    at = len(JPEG) - 1
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != START_OF_SCAN:
        if data[at + 1] == APP1 and data[at + 4 : at + 10] == b"Exif\x00\x00":
            return True
        at += 2 + (data[at + 2] << 8 | data[at + 3])
    return at + 4 > len(data) or data[at] != 0xFF  # odd: let Pillow look


def _orientation(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(EXIF_ORIENTATION)
    except Exception:  # a broken EXIF block is not a broken photo
        return None


def _decode_other(data: bytes | memoryview, max_pixels: int, need: int | None = None) -> Image.Image:
    """With Pillow; `need` pixels a side are enough, which spares most of the work for a large JPEG."""
    with _opened(data) as image:
        _check_size(image.width, image.height, max_pixels)
        if need is not None:
            image.draft(None, (need, need))
        rgb = _to_rgb(image)
        orientation = _orientation(image)  # only now: Pillow turns a TIFF upright while loading it, and says so then
    if orientation in (None, 1):
        return rgb
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    rgb.info["exif"] = exif.tobytes()
    return ImageOps.exif_transpose(rgb)


def _opened(data: bytes | memoryview) -> Image.Image:
    if not len(data):
        raise InvalidImage("not an image: the file is empty (0 bytes); look at how it was made or sent")
    try:
        return Image.open(io.BytesIO(data), formats=FORMATS)
    except Exception as error:  # Pillow's plugins raise whatever they like on hostile bytes
        names = "JPEG, PNG, WebP, BMP, GIF or TIFF"
        raise InvalidImage(f"not an image: the bytes are not {names}") from error


def _check_size(width: int, height: int, max_pixels: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise InvalidImage(f"too small: {width}×{height} pixels; send at least {MIN_SIDE}×{MIN_SIDE}")
    if width * height > max_pixels:
        raise ImageTooLarge(f"too large: {width}×{height} is over the budget of {max_pixels:,} pixels; downscale it")


def _to_rgb(image: Image.Image) -> Image.Image:
    """Any mode → RGB: transparency over white, 16-bit scaled to 8, inks to light."""
    try:
        image.load()
        if image.mode == "F":
            raise InvalidImage("float pixels have no agreed range; convert the image to 8 or 16 bits")
        if image.mode.startswith("I"):
            return _from_16_bit(image)
        if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
            return _over_white(image.convert("RGBA"))
        return image.convert("RGB")
    except InvalidImage:
        raise
    except Exception as error:  # truncated or hostile data
        raise InvalidImage(f"not a readable {image.format} ({error}); it may be cut off or damaged") from error


def _from_16_bit(image: Image.Image) -> Image.Image:
    # Pillow's convert("RGB") clips at 255, which turns every 16-bit photo white.
    array = np.asarray(image)  # uint16, or int32 from some TIFF files; [H, W]
    if array.dtype != np.uint16:
        array = array.clip(0, 65535)
    return Image.fromarray((array >> 8).astype(np.uint8)).convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    # Transparent pixels hold any colour at all; white is what a person sees on a page.
    background = Image.new("RGBA", image.size, (255, 255, 255, 255))
    return Image.alpha_composite(background, image).convert("RGB")


def _opened_for(data: bytes | memoryview, preprocessing: Preprocessing, max_pixels: int) -> Image.Image:
    """Upright RGB with as many pixels as views need."""
    return _decode_jpeg(data, preprocessing, max_pixels) or _decode_other(data, max_pixels)


def _centre(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    return _resized(image, preprocessing, _crop_box(image.width, image.height, preprocessing.crop_pct))


def _view(image: Image.Image, preprocessing: Preprocessing, name: str) -> Pixels:
    if name in CORNERS:
        return _resized(image, preprocessing, _corner_box(image.width, image.height, *CORNERS[name]))
    centre = _centre(image, preprocessing)
    return np.ascontiguousarray(centre[:, ::-1]) if name == FLIP else centre


def _resized(image: Image.Image, preprocessing: Preprocessing, box: tuple[float, float, float, float]) -> Pixels:
    side = preprocessing.size
    return np.asarray(image.resize((side, side), _RESAMPLE[preprocessing.interpolation], box=box))


def _corner_box(width: int, height: int, right: float, down: float) -> tuple[float, float, float, float]:
    """A square in source pixels; 0 and 1 are the ends of each axis."""
    side = min(width, height) * CORNER_SIDE
    left, top = (width - side) * right, (height - side) * down
    return left, top, left + side, top + side


def _crop_box(width: int, height: int, crop_pct: float) -> tuple[float, float, float, float]:
    """The centre crop in source pixels: cropping before resizing is the same picture for less work."""
    side = min(width, height) * crop_pct
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


def _ends_well(data: bytes | memoryview, format: str) -> bool:
    """True when the file's own end mark is where it belongs."""
    tail = bytes(data[-64:])
    if format == "JPEG":
        return tail.rstrip(b"\x00").endswith(b"\xff\xd9")
    if format == "PNG":
        return b"IEND" in tail
    if format == "GIF":
        return tail.rstrip(b"\x00").endswith(b";")
    if format == "WEBP":
        return len(data) >= int.from_bytes(data[4:8], "little") + 8
    return False  # BMP and TIFF have no end mark: decode to be sure
