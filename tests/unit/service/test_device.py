"""Who asks for a GPU that is not there is told when a process starts, not when the first image comes."""

import asyncio
import os

import pytest

from adapters.errors import DeviceError
from adapters.runtime.onnx import devices, processor
from service.context import Context, own_cores
from service.loading import GPU_LANES, lanes
from service.processes.servers import ServingProcess
from service.processes.worker import Worker
from service.settings import Settings


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(devices, "_trouble", lambda: "there is none")


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
@pytest.mark.parametrize("start", [Context.open, Worker], ids=["server", "worker"])
def test_a_process_refuses_to_start(no_gpu, tmp_path, start, device):
    with pytest.raises(DeviceError, match=f"{device} was asked for, but there is none"):
        start(Settings(home=tmp_path, device=device))


def test_without_a_gpu_a_lane_has_a_core(no_gpu):
    assert lanes(Settings(device="auto")) == lanes(Settings(device="cpu")) == processor.cores()


def test_a_gpu_gets_more_lanes_than_cores(monkeypatch):
    monkeypatch.setattr(devices, "_trouble", lambda: None)
    assert lanes(Settings(device="auto")) == lanes(Settings(device="cuda")) == GPU_LANES
    assert lanes(Settings(device="cuda", threads=3)) == 3


@pytest.mark.parametrize("more", [0, 1])
def test_lanes_of_a_server_have_a_core_each_where_there_are_as_many(no_gpu, tmp_path, more):
    cores = len(processor.affinity())
    context = Context.open(Settings(home=tmp_path, threads=cores + more))
    try:
        found = asyncio.run(context.predictor.traffic.lanes.run(lambda: os.sched_getaffinity(0)))
    finally:
        context.close()
    assert found <= processor.affinity() and len(found) == (cores if more else 1)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_lanes_beside_a_gpu_run_anywhere(monkeypatch, device):
    """However many: a thread of the device is started by the lane that brings the first input."""
    monkeypatch.setattr(devices, "_trouble", lambda: None)
    cores = len(processor.affinity())
    assert own_cores(Settings(device="cpu", threads=cores), ServingProcess(), cores) == sorted(processor.affinity())
    assert own_cores(Settings(device=device, threads=cores), ServingProcess(), cores) == []
