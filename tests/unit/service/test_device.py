"""Who asks for a GPU that is not there is told when a process starts, not when the first image comes."""

import pytest

from adapters.errors import DeviceError
from adapters.runtime.onnx import devices, processor
from service.context import Context
from service.loading import GPU_LANES, lanes
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
