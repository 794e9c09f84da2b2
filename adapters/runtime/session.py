"""ONNX Runtime sessions, made one way for serving, training and proving alike."""

import tempfile
from pathlib import Path
from typing import Any

import onnxruntime as ort

from adapters.errors import DeviceError
from adapters.types import Device

ort.set_default_logger_severity(3)  # errors only: warnings about shapes are not for operators


def create(
    graph: bytes | str, device: Device = "cpu", *, threads: int = 1, arena: bool = True, prepack: bool = True
) -> Any:
    """A session over a graph (bytes or a path). Raises DeviceError when CUDA was asked for and is not really used.

    One intra-op thread on purpose: on CPU two single-threaded runs beat one two-threaded run by 1.3–1.5×, so
    concurrency comes from running sessions side by side. `Run` releases the GIL.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = arena
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning steals a neighbour's core
    providers = _providers(device)
    session = ort.InferenceSession(graph, options, providers=providers)
    if providers[0] != session.get_providers()[0]:
        raise DeviceError(f"{providers[0]} was asked for, but the session runs on {session.get_providers()[0]}")
    return session


def simplified(graph: bytes) -> bytes:
    """The same graph with constants folded and nodes fused that standard operators can express."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "graph.onnx")
        ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return Path(options.optimized_model_filepath).read_bytes()


def resolve_device(device: Device) -> Device:
    """`auto` → "cuda" where this build of onnxruntime has it and a GPU answers, else "cpu"."""
    if device != "auto":
        return device
    return "cuda" if "CUDAExecutionProvider" in ort.get_available_providers() and _gpu_answers() else "cpu"


def _providers(device: Device) -> list[str]:
    if resolve_device(device) == "cpu":
        return ["CPUExecutionProvider"]
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        raise DeviceError("CUDA was asked for, but this onnxruntime has no CUDA; install the `gpu` extra, not `cpu`")
    if hasattr(ort, "preload_dlls"):
        ort.preload_dlls()
    return ["CUDAExecutionProvider", "CPUExecutionProvider"]


def _gpu_answers() -> bool:
    return Path("/dev/nvidia0").exists() or Path("/dev/nvidiactl").exists()
