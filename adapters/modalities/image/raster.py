"""Every format through Pillow: opened, charged for its memory, loaded, made RGB and turned upright."""

import functools
import importlib
import io
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PIL import (  # the plugins, so that each is there when its format is asked for
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from adapters.errors import ImageTooLarge, InvalidImage, InvalidInput
from adapters.modalities.image import bmp, formats, jpeg, keys, memory, png, tiff, xmp
from adapters.modalities.image.facts import Facts
from adapters.modalities.image.samples import Mask, flattened, with_alpha

MIN_SIDE = 4  # pixels; a 1×1 image has nothing to learn from and breaks the crop
_ORIENTATION = 0x0112  # EXIF
_WAYS = Image.Transpose
_TURNS = {
    2: _WAYS.FLIP_LEFT_RIGHT, 3: _WAYS.ROTATE_180, 4: _WAYS.FLIP_TOP_BOTTOM, 5: _WAYS.TRANSPOSE, 6: _WAYS.ROTATE_270,
    7: _WAYS.TRANSVERSE, 8: _WAYS.ROTATE_90,
}  # fmt: skip
_PLUGINS: dict[str, Callable[[io.BytesIO, str], Image.Image]] = {
    "JPEG": JpegImagePlugin.JpegImageFile,
    "PNG": PngImagePlugin.PngImageFile,
    "WebP": WebPImagePlugin.WebPImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}
Flattening = Callable[[Image.Image, Facts, Mask], Image.Image]
_FACTS: dict[str, Callable[[bytes | memoryview], Facts]] = {"PNG": png.facts, "TIFF": tiff.facts, "BMP": bmp.facts}
# Bytes for a pixel at the peak: Pillow's picture (4) and the RGB made from it, or that turned (4); what decoders hold
# beside the picture is measured, see memory.py.
_PICTURE = 4
_TWO_PICTURES = 8
_DECODER = {"WebP": 14, "AVIF": 10, "HEIC": 6}
_MASKS = 2  # of the pixels that a colour of a PNG makes transparent, and of those that it does not
# Pillow's own bomb guard counts pixels process-wide; ours is per call, before decoding, with a message for the caller.
Image.MAX_IMAGE_PIXELS = None
# Odd metadata is not the caller's problem. Once for all: `catch_warnings` is not safe among threads.
warnings.filterwarnings("ignore", module=r"PIL\.")
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # lanes decode side by side already


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Raises InvalidImage for hardly a pixel, ImageTooLarge for more than the budget."""
    if min(width, height) < MIN_SIDE:
        raise InvalidImage(f"too small: {width}×{height} pixels; send at least {MIN_SIDE}×{MIN_SIDE}")
    if width * height > max_pixels:
        raise ImageTooLarge(f"too large: {width}×{height} is over the budget of {max_pixels:,} pixels; downscale it")


def size(data: bytes | memoryview, kind: str) -> tuple[int, int]:
    """(width, height) by the header. Raises InvalidImage."""
    if kind == "BMP" and (found := bmp.size(data)):
        return found
    with _opened(data, kind) as image:
        return image.size


@contextmanager
def decoded(
    data: bytes | memoryview, kind: str, max_pixels: int, need: int | None = None, alpha: bool = False
) -> Iterator[Image.Image]:
    """Upright RGB; while it is held, so is its memory. `need` pixels a side are enough, which spares much of a JPEG.

    With `alpha` RGBA. Raises InvalidImage, also for one without alpha then; ImageTooLarge.
    """
    flat = with_alpha if alpha else flattened
    with _refused(kind, "damaged"):
        facts = _FACTS.get(kind, lambda _: Facts())(data)
    if kind == "BMP" and (found := bmp.size(data)):
        check_size(*found, max_pixels)
        with memory.held(found[0] * found[1] * _TWO_PICTURES, max_pixels, found, kind):
            with _refused(kind, "damaged"):
                picture = flat(bmp.read(data), facts, None)
            yield from then_freed(picture)
        return
    with _opened(data, kind) as image:
        check_size(image.width, image.height, max_pixels)
        if need is not None:
            image.draft(None, (need, need))
        with memory.held(_cost(image, kind, facts, data), max_pixels, image.size, kind):
            yield from then_freed(_upright(image, data, kind, facts, flat))


def then_freed(picture: Image.Image) -> Iterator[Image.Image]:
    """Its pixels go before others may take their memory, whoever still has the picture in a variable.

    Of small ones, nobody waits for the memory, and the allocator gives the same pages to the next.
    """
    try:
        yield picture
    finally:
        if picture.width * picture.height * _TWO_PICTURES > memory.SMALL:
            picture.close()


def turned(image: Image.Image, orientation: int | None) -> Image.Image:
    """As EXIF's orientation says; anything that is none leaves it as it is."""
    if orientation is None or orientation not in range(2, 9):  # of hostile bytes it may be a fraction, or a pair
        return image
    return image.transpose(_TURNS[int(orientation)])


def orientation(data: bytes | memoryview, kind: str) -> int | None:
    """Of EXIF or, where that has none, of XMP."""
    with _opened(data, kind) as image:
        return _orientation(image, kind)


def _orientation(image: Image.Image, kind: str) -> int | None:
    said = _of_exif(image)
    packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp")
    if said is not None or not packet or kind == "HEIC":  # whose boxes alone count
        return said
    return xmp.orientation(packet if isinstance(packet, bytes) else str(packet).encode())


def _of_exif(image: Image.Image) -> int | None:
    try:
        return image.getexif().get(_ORIENTATION)
    except Exception:  # a broken EXIF block is not a broken photo
        return None


def _cost(image: Image.Image, kind: str, facts: Facts, data: bytes | memoryview) -> int:
    decoder = facts.stored if kind == "TIFF" else _DECODER.get(kind, 0)  # libtiff: a strip, which may be all of it
    coefficients = jpeg.header(data).coefficients if kind == "JPEG" else 0
    pixels = image.width * image.height
    masks = _MASKS if facts.clear else 0
    return max(pixels * (_TWO_PICTURES + masks), pixels * (_PICTURE + decoder) + coefficients)


def _upright(
    image: Image.Image, data: bytes | memoryview, kind: str, facts: Facts, flattening: Flattening
) -> Image.Image:
    turned_by_pillow = kind == "TIFF" and _of_exif(image) is not None  # while it loads it
    with _refused(kind, "cut off or damaged"):
        hidden = _loaded(image, data, kind, facts)
        orientation = None if turned_by_pillow else _orientation(image, kind)  # of a PNG it may come behind the pixels
        flat = flattening(image, facts, hidden)
    if flat is not image:
        image.close()  # its pixels, before the next step makes others
    return turned(flat.convert("RGB") if flat.mode == "L" else flat, orientation)


def _loaded(image: Image.Image, data: bytes | memoryview, kind: str, facts: Facts) -> Mask:
    """Load it. Returns where a PNG is transparent by a colour."""
    low = _low_bytes(data, facts) if keys.is_deep(facts) else None  # first: of two pictures, one is held at a time
    image.load()
    if kind != "PNG":
        return None
    png.refuse_short(data, image)
    if image.mode != "P":
        image.info.pop("transparency", None)  # of rounded samples: keys.py has it of whole ones
    return keys.hidden(image, facts, low) if facts.clear else None


def _low_bytes(data: bytes | memoryview, facts: Facts) -> Image.Image:
    with _opened(data, "PNG") as image:
        keys.low_bytes(image)
        image.load()
        found = keys.hidden_by_low_bytes(image, facts)
        image.close()
        return found


def _opened(data: bytes | memoryview, kind: str) -> Image.Image:
    if kind == "PNG":
        png.check(data)
        data = png.lean(data)
    plugin = _plugin(kind)
    with _refused(kind, "damaged, or of a kind that is not supported"):
        image = plugin(io.BytesIO(data), "")
        return tiff.with_its_colours(image) if kind == "TIFF" else image


@contextmanager
def _refused(kind: str, may_be: str) -> Iterator[None]:
    """Whatever is raised on truncated or hostile bytes (Pillow's plugins raise what they like) becomes InvalidImage."""
    try:
        yield
    except (InvalidInput, MemoryError):
        raise
    except Exception as error:
        raise InvalidImage(f"not a readable {kind} ({_reason(error)}); it may be {may_be}") from error


def _plugin(kind: str) -> Callable[[io.BytesIO, str], Image.Image]:
    return _heic() if kind == "HEIC" else _PLUGINS[kind]


@functools.cache
def _heic() -> Callable[[io.BytesIO, str], Image.Image]:
    """Only when one comes: the library takes a while to load."""
    if not formats.HEIC_IS_READ:
        fix = "convert it to JPEG, or ask who runs this service to install its extra 'heic'"
        raise InvalidImage(f"not an image that can be read here: it is HEIC; {fix}")
    importlib.import_module("pillow_heif").register_heif_opener(decode_threads=1, thumbnails=False)
    return Image.OPEN["HEIF"][0]


def _reason(error: Exception) -> str:
    """The decoder's own, in one line."""
    if "not identified by this driver" in str(error):
        return "its header is not complete"
    return str(error).strip().partition("\n")[0][:200] or type(error).__name__
