"""ONNX Runtime sessions, made one way for serving, training and proving alike."""

import tempfile
from pathlib import Path
from typing import Any

import onnxruntime as ort

from adapters.errors import DeviceError
from adapters.runtime.onnx import devices, processor
from adapters.types import Device

ort.set_default_logger_severity(3)  # errors only: warnings about shapes are not for operators


def create(
    graph: bytes | str,
    device: Device = "cpu",
    *,
    threads: int = 1,
    arena: bool = True,
    prepack: bool = True,
    engines: devices.Options | None = None,
    whole: bool = True,
    optimized: bool = False,
) -> Any:
    """A session over a graph (bytes or a path). Raises DeviceError when a GPU was asked for and does not run all of it,
    or, unless it has to run the `whole`, not what takes the time. What `optimize` wrote is taken as it is.

    One intra-op thread on purpose: on CPU two single-threaded runs beat one two-threaded run by 1.3–1.5×, so
    concurrency comes from running sessions side by side. `Run` releases the GIL.
    """
    options = _options(threads, arena, prepack)
    if optimized:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    resolved = devices.resolve(device)
    if resolved == "cpu":
        return ort.InferenceSession(graph, options, providers=[devices.CPU])
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    made = _on_gpu(graph, options, resolved, engines)
    devices.check(made, resolved, whole)
    return made


def optimize(graph: str, path: str) -> None:
    """Write what onnxruntime makes of a graph on this processor, all its fusions and layouts, from a path to another.

    For this process: the result is of this processor and this onnxruntime. A session over it runs the same kernels.
    """
    options = _options(1, arena=False, prepack=False)
    options.optimized_model_filepath = path
    ort.InferenceSession(graph, options, providers=[devices.CPU])


def _options(threads: int, arena: bool, prepack: bool) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.enable_cpu_mem_arena = arena
    if not prepack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning steals a neighbour's core
    if not processor.fast_int8():
        # x86 without VNNI: kernels for int8 that add in 32 bits instead of 16, which overflow. Not with it: the same
        # bits come out there either way, and these kernels take more than twice as long.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def _on_gpu(graph: bytes | str, options: Any, device: Device, engines: devices.Options | None) -> Any:
    try:
        # By default it prints that it falls back, and does; at a later run that fails, too.
        return ort.InferenceSession(graph, options, providers=devices.providers(device, engines), enable_fallback=False)
    except Exception as error:  # onnxruntime's own kinds, and RuntimeError
        raise DeviceError(f"{device} was asked for, but onnxruntime cannot run this graph there: {error}") from error


def simplified(graph: bytes) -> bytes:
    """The same graph with constants folded and nodes fused that standard operators can express."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    with tempfile.TemporaryDirectory() as folder:
        options.optimized_model_filepath = str(Path(folder) / "graph.onnx")
        ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        return Path(options.optimized_model_filepath).read_bytes()
