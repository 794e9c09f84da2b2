"""JPEG bytes → 224 × 224 pixels: our modality against Pillow alone by size of the photo, and how far threads carry it.

Threads decode side by side while the interpreter is let go: in libjpeg and in Pillow's resize. What is left holds it,
so its seconds an image bound what all threads of one process can do together (`ceiling_images_per_second`, at least).
A pool of processes must be sent bytes and send pixels back, which costs the process that asks something, too.
"""

import io
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import simplejpeg
from PIL import Image

from adapters.modalities import image
from adapters.modalities.image import Preprocessing, jpeg, views
from benchmarks import photos, record

SIZES = {"small (224×224)": (224, 224), "medium (640×427)": (640, 427), "large (4000×3000)": (4000, 3000)}
REPETITIONS = 7
WORKERS = 2  # processes
SHAPE = Preprocessing(224, 0.875, "bicubic", (0.5,) * 3, (0.5,) * 3)


def main() -> dict[str, Any]:
    """Measure and print; returns the results."""
    results: dict[str, Any] = {}
    with _processes() as processes:
        for name, (width, height) in SIZES.items():
            pictures = [data for data, _ in photos.crops(4, width=width, height=height)]
            results[name] = _against_pillow(pictures) | _side_by_side(pictures, processes)
            record.show({name: results[name]})
    return results


def _against_pillow(pictures: Sequence[bytes]) -> dict[str, Any]:
    pairs = [(_ms(image_decode, pictures), _ms(with_pillow, pictures)) for _ in range(REPETITIONS)]
    return {
        "espalier_ms": record.spread([ours for ours, _ in pairs]),
        "pillow_ms": record.spread([theirs for _, theirs in pairs]),
        "ratio": record.spread([ours / theirs for ours, theirs in pairs]),
        "damage_check_ms": record.spread([_ms(damage_check, pictures, time.thread_time) for _ in pairs]),
    }


def damage_check(data: bytes) -> Any:
    """What is looked for beside what the decoder itself notices."""
    return jpeg.flaw(data, jpeg.header(data))


def with_pillow(data: bytes) -> Any:
    """The plain way: decode in full, resize, crop."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    box = views.crop_box(picture.width, picture.height, SHAPE.crop_pct)
    return np.asarray(picture.resize((224, 224), Image.Resampling.BICUBIC, box=box))


def image_decode(data: bytes) -> Any:
    """The way that training and serving share."""
    return image.pixels(data, SHAPE)


def _ms(
    decode: Callable[[bytes], Any], pictures: Sequence[bytes], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Milliseconds an image."""
    rounds = _rounds(pictures)
    began = clock()
    for _ in range(rounds):
        for data in pictures:
            decode(data)
    return (clock() - began) / (rounds * len(pictures)) * 1e3


def _rounds(pictures: Sequence[bytes]) -> int:
    return max(1, 100 // len(pictures)) if len(pictures[0]) < 500_000 else 2


def _side_by_side(pictures: Sequence[bytes], processes: Executor) -> dict[str, Any]:
    """How many times as fast two threads are as one, and what an image costs this process, by threads and by a pool."""
    turns = [
        (_rate(pictures, 2) / _rate(pictures, 1), _held(pictures), _handed_over(pictures, processes))
        for _ in range(REPETITIONS)
    ]
    return {
        "two_threads_over_one": record.spread([ratio for ratio, _, _ in turns]),
        "interpreter_held_ms": record.spread([held for _, held, _ in turns]),
        "ceiling_images_per_second": record.spread([1e3 / held for _, held, _ in turns]),
        "pool_of_processes_ms": record.spread([handed for *_, handed in turns]),
    }


def _rate(pictures: Sequence[bytes], threads: int) -> float:
    """Images a second of so many threads, each on a core of its own: time spent waiting for a core does not count."""
    together = threading.Barrier(threads)

    def work(_: int) -> float:
        together.wait()
        began, waited = time.perf_counter(), _waited_for_a_core()
        for _ in range(_rounds(pictures)):
            for data in pictures:
                image_decode(data)
        return time.perf_counter() - began - (_waited_for_a_core() - waited)

    with ThreadPoolExecutor(threads) as pool:
        return sum(_rounds(pictures) * len(pictures) / seconds for seconds in pool.map(work, range(threads)))


def _waited_for_a_core() -> float:
    """Seconds that this thread was ready to run and another had the core, by Linux's own account."""
    return int(Path("/proc/thread-self/schedstat").read_text().split()[1]) / 1e9


def _handed_over(pictures: Sequence[bytes], processes: Executor) -> float:
    """Milliseconds of this process's processors for an image that another one decodes: bytes there, pixels back."""
    work = list(pictures) * _rounds(pictures)
    began = time.process_time()
    for _ in processes.map(image_decode, work):
        pass
    return (time.process_time() - began) / len(work) * 1e3


@contextmanager
def _processes() -> Iterator[Executor]:
    """A warm pool."""
    with ProcessPoolExecutor(WORKERS, get_context("spawn")) as pool:
        small = photos.crops(WORKERS, width=64, height=64)
        list(pool.map(image_decode, [data for data, _ in small] * 4))
        yield pool


def _held(pictures: Sequence[bytes]) -> float:
    """Milliseconds of processor an image when libjpeg and the resize, which let the interpreter go, take no time.

    At most so long is it held: copies in Pillow let go as well.
    """
    need = round(2 * SHAPE.size / SHAPE.crop_pct)
    arrays = {id(data): simplejpeg.decode_jpeg(data, "RGBX", min_height=need, min_width=need) for data in pictures}
    resized = Image.new("RGB", (SHAPE.size, SHAPE.size))
    with (
        mock.patch.object(simplejpeg, "decode_jpeg", lambda data, *_, **__: arrays[id(data)]),
        mock.patch.object(Image.Image, "resize", lambda *_, **__: resized),
    ):
        return _ms(image_decode, pictures, time.thread_time)


if __name__ == "__main__":
    record.save("decode", main())
