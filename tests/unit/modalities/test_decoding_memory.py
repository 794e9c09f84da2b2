"""What a decode takes stays below what is charged for it, and what all lanes take together below the budget.

Measured in processes of their own, by the most memory that each ever had (VmHWM), over what it had before.
"""

import io
import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.odd_files import GREY, RGB, RGBA, bmp, by_masks, png, tiff

from adapters.errors import ImageTooLarge
from adapters.modalities import image as modality
from adapters.modalities.image import Preprocessing, memory

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
PREPROCESSING = Preprocessing(224, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
SIDE = 1500  # pixels: over two million
LARGE = 3000  # pixels, of those made by hand
SLACK = 12 << 20  # bytes that have nothing to do with the size: strips, tables, the allocator
OPTIONS: dict[str, dict[str, object]] = {
    "jpeg": {"format": "JPEG"},
    "jpeg-progressive": {"format": "JPEG", "progressive": True, "subsampling": 0},
    "jpeg-cmyk": {"format": "JPEG", "mode": "CMYK"},
    "jpeg-cmyk-progressive": {"format": "JPEG", "mode": "CMYK", "progressive": True},
    "jpeg-narrow-turned": {"format": "JPEG", "size": (400, 5_000), "turned": True},
    "png": {"format": "PNG"},
    "png-rgba": {"format": "PNG", "mode": "RGBA"},
    "png-rgba-turned": {"format": "PNG", "mode": "RGBA", "turned": True},
    "png-grey-alpha": {"format": "PNG", "mode": "LA"},
    "png-grey-16": {"format": "PNG", "mode": "I;16"},
    "png-palette": {"format": "PNG", "mode": "P"},
    "bmp": {"format": "BMP"},
    "gif": {"format": "GIF", "mode": "P"},
    "tiff": {"format": "TIFF"},
    "tiff-packed-turned": {"format": "TIFF", "mode": "RGBA", "compression": "tiff_lzw", "turned": True},
    "tiff-cmyk": {"format": "TIFF", "mode": "CMYK", "compression": "tiff_adobe_deflate"},
    "webp": {"format": "WEBP", "quality": 50, "method": 0},
    "webp-rgba": {"format": "WEBP", "mode": "RGBA", "lossless": True, "method": 0},
    "avif": {"format": "AVIF", "speed": 10},
    "avif-rgba": {"format": "AVIF", "mode": "RGBA", "speed": 10},
    # Larger, so that SLACK, which does not grow with the size, forgives 1.4 bytes a pixel in place of 5.6.
    "png-rgba-16": {"by_hand": True},
    "png-rgb-16-clear": {"by_hand": True},
    "png-grey-clear": {"by_hand": True},
    "tiff-uint32": {"by_hand": True},
    "tiff-rgb-16": {"by_hand": True},
    "bmp-fields-16": {"by_hand": True},
    "bmp-fields-32": {"by_hand": True},
    "bmp-fields-32-alpha": {"by_hand": True},
    "bmp-2-bits": {"by_hand": True},
    "heic": {"format": "HEIF", "quality": 50},
    "heic-rgba": {"format": "HEIF", "mode": "RGBA", "quality": 50},
}
# Forks before each decode: a child's VmHWM begins at what it has. A small file of the same format warms up the plugin.
MEASURE = """
import json, os, sys
from adapters.modalities import image
from adapters.modalities.image import Preprocessing
SHAPE = Preprocessing(224, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)
def memory(key):
    return next(int(l.split()[1]) << 10 for l in open("/proc/self/status") if l.startswith(key + ":"))
for small, large in zip(sys.argv[1::2], sys.argv[2::2]):
    data = open(large, "rb").read()
    sys.stdout.flush()
    if os.fork() == 0:
        image.pixels(open(small, "rb").read(), SHAPE)
        before = memory("VmRSS")
        image.pixels(data, SHAPE)
        print(json.dumps([os.path.basename(large), memory("VmHWM") - before]), flush=True)
        os._exit(0)
    os.wait()
"""


def picture(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, (x + y) % 256], axis=-1).astype(np.uint8))


def by_hand(name: str, side: int) -> bytes:
    """Kinds that Pillow does not write, or not so."""
    colour = np.asarray(picture(side, side))
    four, deep = np.dstack([colour, colour[..., 0]]), colour.astype(np.uint16) * 257
    argb, short = (0xFF0000, 0xFF00, 0xFF, 0xFF000000), (0xF00, 0xF0, 0xF)
    return {
        "png-rgba-16": lambda: png(np.dstack([deep, deep[..., 0]]), 16, RGBA),
        "png-rgb-16-clear": lambda: png(deep, 16, RGB, {b"tRNS": bytes(6)}),
        "png-grey-clear": lambda: png(colour[..., 0], 8, GREY, {b"tRNS": bytes(2)}),
        "tiff-uint32": lambda: tiff(colour[..., 0].astype(np.uint32) << 24, 32),
        "tiff-rgb-16": lambda: tiff(deep, 16, photometric=2),
        "bmp-fields-16": lambda: bmp(by_masks(colour, short), 16, masks=short),
        "bmp-fields-32": lambda: bmp(by_masks(colour, argb[:3]), 32, masks=argb[:3]),
        "bmp-fields-32-alpha": lambda: bmp(by_masks(four, argb), 32, masks=argb, header=108),
        "bmp-2-bits": lambda: bmp(colour[..., 0] >> 6, 2, palette=np.eye(4, 3, dtype=np.uint8) * 200),
    }[name]()


def write(path: Path, made: dict[str, object], side: int) -> None:
    options = dict(made)
    if options.pop("by_hand", False):
        path.write_bytes(by_hand(path.name.rpartition("-")[0], side * LARGE // SIDE))
        return
    width, height = options.pop("size", (SIDE, SIDE))  # type: ignore[misc]
    image = picture(width * side // SIDE, height * side // SIDE)
    mode = options.pop("mode", "RGB")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) << 8)
    elif mode in ("RGBA", "LA"):
        image.putalpha(200)
        image = image.convert(mode)
    else:
        image = image.quantize(64) if mode == "P" else image.convert(mode)
    if options.pop("turned", False):
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6  # type: ignore[index]
    image.save(path, **options)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each picture, small and large."""
    pytest.importorskip("pillow_heif").register_heif_opener()
    made = tmp_path_factory.mktemp("pictures")
    for name, options in OPTIONS.items():
        for side in (SIDE // 20, SIDE):
            write(made / f"{name}-{side}", options, side)
    return made


@pytest.fixture(scope="module")
def taken(folder: Path) -> dict[str, int]:
    """Bytes that a decode took at the peak, by name."""
    pairs = [str(folder / f"{name}-{side}") for name in OPTIONS for side in (SIDE // 20, SIDE)]
    return {name.removesuffix(f"-{SIDE}"): most for name, most in measured(MEASURE, pairs)}


def measured(program: str, pairs: list[str]) -> list[tuple[str, int]]:
    done = subprocess.run([sys.executable, "-c", program, *pairs], capture_output=True, text=True, check=True)
    return [(name, most) for name, most in map(json.loads, done.stdout.splitlines())]


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIONS)
def test_a_decode_takes_no_more_than_is_charged(
    name: str, taken: dict[str, int], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    charged = list[int]()
    held = memory.held
    monkeypatch.setattr(memory, "held", lambda cost, *rest: charged.append(cost) or held(cost, *rest))
    modality.pixels((folder / f"{name}-{SIDE}").read_bytes(), PREPROCESSING)
    assert taken[name] <= max(charged, default=memory.SMALL) + SLACK  # nobody is asked for a small one


@pytest.mark.slow
def test_a_plain_jpeg_takes_little_because_it_is_scaled_while_it_is_decoded(taken: dict[str, int]) -> None:
    assert taken["jpeg"] < taken["png"] < taken["webp"]


@pytest.mark.slow
def test_what_costs_more_than_the_budget_is_refused_before_decoding(folder: Path) -> None:
    data = (folder / f"webp-{SIDE}").read_bytes()
    modality.pixels(data, PREPROCESSING, most=10_000_000)
    for check in (
        modality.verify,
        lambda data, most: modality.pixels(data, PREPROCESSING, most=most),
    ):
        with pytest.raises(
            ImageTooLarge, match=r"1500×1500 pixels of this kind of WebP take 40 MB to decode, over the"
        ):
            check(data, most=SIDE * SIDE)


def test_large_decodes_wait_for_each_other_and_small_ones_for_nobody() -> None:
    most, inside, together = 100, list[int](), list[int]()
    budget, let_go = memory.Budget(), threading.Event()

    def decode(cost: int) -> None:
        with budget.hold(cost, most):
            inside.append(cost)
            together.append(sum(inside))
            let_go.wait(0.05)
            inside.remove(cost)

    threads = [threading.Thread(target=decode, args=[cost]) for cost in (60, 60, 40, 100, 30, 70)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(together) == 6 and max(together) <= most
    with memory.held(memory.SMALL, 1, (1, 1), "PNG"), memory.held(memory.SMALL, 1, (1, 1), "PNG"):
        pass  # never counted: two of them at once in a budget that has room for none


def test_what_a_failed_decode_held_is_given_back() -> None:
    budget = memory.Budget()
    for _ in range(3):
        with pytest.raises(ValueError, match="damaged"), budget.hold(80, 100):
            raise ValueError("damaged")
    with budget.hold(100, 100):
        pass


@pytest.mark.parametrize("bits", [8, 16])
def test_a_small_file_that_unpacks_to_a_large_picture_keeps_to_the_budget(tmp_path: Path, bits: int) -> None:
    """An RGBA PNG of some KB: once 20 bytes a pixel, for each of the lanes that decode one."""
    for name, side in (("small", 64), ("large", 2400)):
        pixels = np.full((side, side, 4), 0x9999 >> (16 - bits), np.uint16 if bits == 16 else np.uint8)
        (tmp_path / name).write_bytes(png(pixels, bits, RGBA))
    lanes = MEASURE.replace(
        "        image.pixels(data, SHAPE)\n        print",
        "        from concurrent.futures import ThreadPoolExecutor\n"
        "        one = lambda _: image.pixels(data, SHAPE, most=2400 * 2400)\n"
        "        list(ThreadPoolExecutor(4).map(one, range(4)))\n        print",
    )
    ((_, most),) = measured(lanes, [str(tmp_path / "small"), str(tmp_path / "large")])
    assert most <= memory.BYTES_PER_PIXEL * 2400 * 2400 + 2 * SLACK


def test_io_is_not_copied_for_nothing() -> None:
    """`probe` of a large file opens it, and that is all."""
    file = io.BytesIO()
    picture(1000, 1000).save(file, "PNG")
    assert modality.probe(file.getvalue()).facts == {"format": "PNG", "width": 1000, "height": 1000}
