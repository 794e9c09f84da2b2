"""A device is what was asked for or an error that says what to do; `auto` takes the CPU for what a GPU runs half."""

from collections import Counter
from types import SimpleNamespace

import numpy as np
import onnxruntime as ort
import pytest
from support.deep import SHAPE, TinyCut
from support.graphs import SIDE, TINY, tiny

from adapters.errors import DeviceError
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.heads.head import DeepHead, Head
from adapters.runtime.onnx import devices, session

NODES = {"Conv": 2, "Shape": 1, "Concat": 1}


class Session:
    """What onnxruntime says of a session."""

    def __init__(self, providers: list[str], on_cpu: dict[str, int], on_gpu: dict[str, int] | None = None) -> None:
        self._providers = providers
        self._parts = {devices.CPU: on_cpu, devices.CUDA: on_gpu or {}}

    def get_providers(self) -> list[str]:
        return self._providers

    def get_provider_graph_assignment_info(self) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda k=kind, n=count: [SimpleNamespace(op_type=k)] * n)
            for name, kinds in self._parts.items()
            for kind, count in kinds.items()
        ]


@pytest.fixture
def gpu(monkeypatch):
    """A machine whose GPU answers, as far as `resolve` can see."""
    monkeypatch.setattr(devices, "_trouble", lambda: None)


def test_auto_is_the_cpu_where_no_gpu_answers(monkeypatch):
    monkeypatch.setattr(devices, "_trouble", lambda: "there is none")
    assert devices.resolve("auto") == devices.resolve("cpu") == "cpu"


@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_gpu_that_was_asked_for_by_name_is_there_or_an_error(monkeypatch, device):
    monkeypatch.setattr(devices, "_trouble", lambda: "there is none")
    with pytest.raises(DeviceError, match=f"{device} was asked for, but there is none"):
        devices.resolve(device)


def test_an_onnxruntime_without_cuda_names_the_extra():
    if devices.CUDA in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(DeviceError, match="`gpu` extra"):
        session.create(tiny(), "cuda")


def test_a_gpu_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(ort, "get_available_providers", lambda: [devices.CUDA, devices.CPU])
    monkeypatch.setattr(ort, "preload_dlls", lambda: None)
    if _answers():
        pytest.skip("a GPU answers")
    assert "`nvidia-smi`" in (devices._trouble.__wrapped__() or "")


def _answers() -> bool:
    try:
        return bool(ort.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32), "cuda", 0))
    except Exception:
        return False


def test_tensorrt_is_asked_for_by_name(gpu, monkeypatch):
    assert devices.resolve("auto") == "cuda"
    monkeypatch.setattr(ort, "get_available_providers", lambda: [devices.CUDA, devices.CPU])
    with pytest.raises(DeviceError, match="built without it"):
        devices.resolve("tensorrt")
    monkeypatch.setattr(ort, "get_available_providers", lambda: [devices.TENSORRT, devices.CUDA, devices.CPU])
    assert devices.resolve("tensorrt") == "tensorrt"


def test_providers_come_best_first_with_their_options():
    assert devices.providers("cpu") == [(devices.CPU, {})]
    assert devices.providers("cuda") == [(devices.CUDA, devices.CUDA_OPTIONS), (devices.CPU, {})]
    assert [name for name, _ in devices.providers("tensorrt")] == [devices.TENSORRT, devices.CUDA, devices.CPU]


def test_tensorrt_keeps_engines_of_a_backbone_apart(tmp_path):
    options = devices.engine_options(TINY, 64, tmp_path)
    assert options["trt_profile_max_shapes"] == f"pixels:64x{SIDE}x{SIDE}x3" and options["trt_fp16_enable"] == "0"
    assert options["trt_engine_cache_path"] == str(tmp_path / TINY.digest[:16])
    assert (tmp_path / TINY.digest[:16]).is_dir()
    assert "trt_engine_cache_path" not in devices.engine_options(TINY, 64, None)


def test_nodes_of_a_real_session_are_counted_but_for_shapes():
    options = ort.SessionOptions()
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    made = ort.InferenceSession(tiny(stray=True), options, providers=[devices.CPU])
    assert devices.computed_on_cpu(made) == Counter(Transpose=1, Conv=1, GlobalAveragePool=1, Binarizer=1)


def test_a_session_that_runs_whole_on_the_gpu_passes():
    devices.check(Session([devices.CUDA, devices.CPU], {"Shape": 3, "Gather": 3}, NODES), "cuda")


def test_a_provider_that_was_not_loaded_is_refused():
    with pytest.raises(DeviceError, match="cannot load it and took CPUExecutionProvider"):
        devices.check(Session([devices.CPU], NODES), "cuda")
    with pytest.raises(DeviceError, match=r"tensorrt was asked for.*took CUDAExecutionProvider"):
        devices.check(Session([devices.CUDA, devices.CPU], {}, NODES), "tensorrt")


def test_nodes_that_fall_back_are_refused_and_named():
    half = Session([devices.CUDA, devices.CPU], {"QLinearConv": 49, "Clip": 2, "Shape": 9}, NODES)
    with pytest.raises(DeviceError, match=r"parts of this backbone run on the CPU \(49 QLinearConv, 2 Clip\)"):
        devices.check(half, "cuda")


def test_auto_runs_a_backbone_on_the_cpu_that_a_gpu_runs_half(gpu, monkeypatch, caplog):
    make = session.create

    def create(graph, device="cpu", **options):
        if device == "cuda":
            raise DeviceError("49 nodes of this backbone run on the CPU")
        return make(graph, device)

    monkeypatch.setattr(session, "create", create)
    loaded = BackboneSession(TINY, tiny(), "auto")
    assert (loaded.device, loaded.max_batch) == ("cpu", 1)
    assert "the backbone tiny runs on the CPU: 49 nodes" in caplog.text
    with pytest.raises(DeviceError, match="49 nodes"):
        BackboneSession(TINY, tiny(), "cuda")


def test_what_onnxruntime_cannot_run_there_is_an_error_of_ours(gpu):
    if devices.CUDA in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    with pytest.raises(DeviceError, match="cuda was asked for"):
        session.create(tiny(), "cuda")


@pytest.mark.parametrize(("on_cpu", "fine"), [({"TopK": 1, "Sigmoid": 2}, True), ({"QLinearConv": 1}, False)])
def test_what_takes_no_time_of_a_head_may_run_elsewhere(on_cpu, fine):
    told = Session([devices.CUDA, devices.CPU], on_cpu, {"Conv": 3})
    with pytest.raises(DeviceError, match="run on the CPU"):
        devices.check(told, "cuda")
    if fine:
        devices.check(told, "cuda", whole=False)
    else:
        with pytest.raises(DeviceError, match="1 QLinearConv"):
            devices.check(told, "cuda", whole=False)


def test_a_deep_head_that_a_gpu_does_not_run_runs_on_the_cpu(gpu):
    """This onnxruntime or this machine has none, though `resolve` is told so."""
    if devices.CUDA in ort.get_available_providers():
        pytest.skip("this onnxruntime has CUDA")
    head = Head.from_bytes(TinyCut().head(1), "cuda")
    assert isinstance(head, DeepHead) and head.device == "cpu"
    assert np.isfinite(head.answer(np.ones((2, *SHAPE), np.float32)).arrays["probabilities"]).all()
