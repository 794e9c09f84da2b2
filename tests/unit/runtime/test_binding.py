"""Passes with IO binding answer as `run` does, bit for bit, and keep out of each other's buffers."""

import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnxruntime as ort
import pytest
from support.graphs import SIDE, TINY, tiny

from adapters.runtime import binding
from adapters.runtime.backbone import GPU_BATCHES, BackboneSession
from adapters.runtime.batcher import IN_FLIGHT, Batcher
from adapters.runtime.binding import BoundPasses
from adapters.runtime.onnx import devices, locked
from adapters.types import Tensors


def pictures(count: int, seed: int = 0) -> Tensors:
    return {"pixels": np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), dtype=np.uint8)}


def each(batch: Tensors) -> list[Tensors]:
    return [{"pixels": pixels} for pixels in batch["pixels"]]


@pytest.fixture(scope="module")
def session() -> BackboneSession:
    return BackboneSession(TINY, tiny())


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 31, 33, 63, 64, 65, 200])
def test_padded_passes_answer_as_runs_do(session, count):
    pixels = pictures(count)
    np.testing.assert_array_equal(session.bound.embed(pixels), session.plain(pixels))


def test_images_may_come_one_by_one(session):
    pixels = pictures(5)
    np.testing.assert_array_equal(session.bound.embed(each(pixels)), session.bound.embed(pixels))


def test_what_an_earlier_pass_left_behind_is_not_seen(session):
    bound = session.bound
    bound.embed(pictures(8, seed=1))
    few = pictures(5, seed=2)
    np.testing.assert_array_equal(bound.embed(few), session.plain(few))


def test_an_answer_outlives_the_passes_that_follow(session):
    bound = session.bound
    first = bound.embed(pictures(4, seed=1))
    kept = first.copy()
    for seed in range(2, 6):
        bound.embed(pictures(4, seed=seed))
    np.testing.assert_array_equal(first, kept)


@pytest.mark.parametrize("threads", [2, 5], ids=["as many as passes in flight", "more"])
def test_passes_at_one_time_do_not_mix(session, threads):
    """Each thread has pictures of its own, and every size at a time."""
    bound, together = session.bound, threading.Barrier(threads)

    def work(number: int) -> None:
        for turn, size in enumerate(GPU_BATCHES * 3):
            pixels = pictures(size, seed=100 * number + turn)
            wanted = session.plain(pixels)
            together.wait(30)
            np.testing.assert_array_equal(bound.embed(pixels), wanted)

    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, range(threads)))


def test_buffers_come_back_from_a_pass_that_failed(session):
    bound = BoundPasses(session._session, TINY, "cpu", (2,), 1)
    with pytest.raises(ValueError):
        bound.embed([{"pixels": np.zeros((3, 3, 3), np.uint8)}])
    np.testing.assert_array_equal(bound.embed(pictures(2)), session.plain(pictures(2)))


def test_a_batcher_fills_bound_passes(session):
    """As on a GPU: many ask, few passes answer."""

    class Device:
        backbone, max_batch, passes = TINY, GPU_BATCHES[-1], session.bound

        def embed(self, pixels, alone=False):
            return self.passes.embed(pixels)

    batcher, pixels = Batcher(Device()), pictures(100)
    with ThreadPoolExecutor(8) as pool:
        answers = np.stack(list(pool.map(batcher.embed, each(pixels))))
    batcher.close()
    np.testing.assert_array_equal(answers, session.plain(pixels))
    assert IN_FLIGHT == 2


@pytest.fixture
def stand_in(monkeypatch):
    """A GPU's whole path, with the CPU provider and the host's memory in its place."""
    monkeypatch.setattr(devices, "_trouble", lambda: None)
    monkeypatch.setitem(devices.PROVIDERS, "cuda", (devices.CPU,))
    monkeypatch.setattr(devices, "computed_on_cpu", lambda session: Counter())
    make = ort.OrtValue.ortvalue_from_shape_and_type
    monkeypatch.setattr(binding, "_shared", lambda tensor, on_gpu: make(tensor.shape, tensor.dtype.type))


def test_a_gpu_pads_copies_and_answers_as_a_cpu_does(session, stand_in):
    there = BackboneSession(TINY, tiny(), "cuda")
    there.warm()
    assert (there.device, there.max_batch) == ("cuda", GPU_BATCHES[-1])
    for count in (1, 3, 64, 70):
        np.testing.assert_array_equal(there.embed(pictures(count)), session.embed(pictures(count)))


def test_pages_that_cannot_be_locked_are_used_all_the_same(monkeypatch):
    class Runtime:
        forgot = False

        def cudaHostRegister(self, address, size, flags):
            return 2  # out of memory

        def cudaGetLastError(self):
            self.forgot = True

    runtime = Runtime()
    monkeypatch.setattr(locked, "_cuda_runtime", lambda: runtime)
    array = locked.zeros((3, 5), np.float32, locked=True)
    array[1] = 7
    assert array.sum() == 35 and array.dtype == np.float32 and array.ctypes.data % 4096 == 0
    assert runtime.forgot  # or the next kernel would be blamed


def test_pages_are_locked_where_cuda_is(monkeypatch):
    calls = []

    class Runtime:
        def cudaHostRegister(self, address, size, flags):
            calls.append((address.value, size.value, flags.value))
            return 0

    monkeypatch.setattr(locked, "_cuda_runtime", Runtime)
    array = locked.zeros((2, 8, 8, 3), np.uint8, locked=True)
    assert calls == [(array.ctypes.data, 384, 1)]
    assert locked._kept.pop() is array  # as long as CUDA knows it
