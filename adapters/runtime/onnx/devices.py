"""Devices: what `auto`, `cpu`, `cuda` and `tensorrt` mean to ONNX Runtime, and whether a session really runs there."""

import functools
import logging
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from adapters import modalities
from adapters.errors import DeviceError
from adapters.types import Backbone, Device

log = logging.getLogger("espalier.device")
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
PROVIDERS: dict[Device, tuple[str, ...]] = {"cpu": (CPU,), "cuda": (CUDA, CPU), "tensorrt": (TENSORRT, CUDA, CPU)}

Options = dict[str, str]  # of one provider
TRIED = 8  # made-up inputs, the shortest and the longest among them

CUDA_OPTIONS: Options = {
    # TF32 keeps 10 bits of fp32's mantissa: embeddings would be off in the third digit from those of a CPU replica,
    # whose digest is the same. Who wants the speed serves fp16, which is a digest of its own.
    "use_tf32": "0",
    # The default, EXHAUSTIVE, times every algorithm for every layer and batch size at each start; which one wins
    # differs from start to start, and so do the last digits of embeddings.
    "cudnn_conv_algo_search": "HEURISTIC",
    "arena_extend_strategy": "kSameAsRequested",  # server and worker share the card; the default doubles what it takes
}
# What ONNX Runtime puts on the CPU on purpose: numbers reckoned from shapes, a few bytes each.
SHAPES = frozenset(
    "Add Cast Concat Constant ConstantOfShape Div Equal Expand Floor Gather Identity Max Min Mod Mul Range Reshape "
    "Shape Size Slice Split Sqrt Squeeze Sub Unsqueeze Where".split()
)
# How operators are called that take a graph's time. A head's last steps, of a few hundred numbers, may run anywhere.
WORK = ("Conv", "QLinear", "MatMul", "Gemm", "QGemm", "Attention", "Fused")


def resolve(device: Device) -> Device:
    """Where `device` leads on this machine: `auto` to a GPU that answers, else to the CPU.

    Raises DeviceError when a GPU was asked for by name and does not answer.
    """
    trouble = None if device == "cpu" else _trouble()
    if device == "auto":
        return "cpu" if trouble else "cuda"
    if trouble:
        raise DeviceError(f"{device} was asked for, but {trouble}")
    if device == "tensorrt" and TENSORRT not in ort.get_available_providers():
        raise DeviceError("tensorrt was asked for, but this onnxruntime was built without it; `cuda` needs no TensorRT")
    return device


def providers(device: Device, engines: Options | None = None) -> list[tuple[str, Options]]:
    """ONNX Runtime's providers for a resolved device, best first, each with its options; `engines` are TensorRT's."""
    options = {CPU: {}, CUDA: CUDA_OPTIONS, TENSORRT: engines or {}}
    return [(name, options[name]) for name in PROVIDERS[device]]


def engine_options(backbone: Backbone, largest: int, folder: Path | None) -> Options:
    """TensorRT's options for a backbone: one engine for all batches up to `largest`, kept in `folder` if there is one.

    Building takes minutes, so without a folder every start does.
    """
    least, most = _profile(backbone, 1, min), _profile(backbone, largest, max)
    options = {
        "trt_fp16_enable": "1" if backbone.precision == "fp16" else "0",
        "trt_profile_min_shapes": least,
        "trt_profile_opt_shapes": most,
        "trt_profile_max_shapes": most,
    }
    return options if folder is None else options | _kept_in(folder / backbone.digest[:16])


def _profile(backbone: Backbone, count: int, pick: Callable[[Iterable[int]], int]) -> str:
    """Shapes of so many inputs as TensorRT reads them; what varies is picked from made-up ones of all lengths."""
    modality = modalities.of(backbone)
    tried = modality.trial(backbone.spec, TRIED)
    shapes = {
        each.name: [pick(one[each.name].shape[axis] for one in tried) for axis in range(len(each.shape))]
        for each in modality.inputs(backbone.spec)
    }
    return ",".join(f"{name}:" + "x".join(map(str, (count, *shape))) for name, shape in shapes.items())


def _kept_in(folder: Path) -> Options:
    """A folder for each backbone: TensorRT names engines by the graph's name, which backbones share."""
    folder.mkdir(parents=True, exist_ok=True)
    return {
        "trt_engine_cache_enable": "1", "trt_engine_cache_path": str(folder),
        "trt_timing_cache_enable": "1", "trt_timing_cache_path": str(folder),
    }  # fmt: skip


def check(session: Any, device: Device, whole: bool = True) -> None:
    """Raises DeviceError unless the session runs on the resolved device: the `whole` of it, or all that takes time."""
    wanted, used = PROVIDERS[device][0], session.get_providers()[0]
    if wanted != used:  # a missing library is a silent fall-back
        raise DeviceError(f"{device} was asked for, but onnxruntime cannot load it and took {used}; its log says why")
    strays = Counter[str]() if device == "cpu" else computed_on_cpu(session)
    if (whole and strays) or any(kind.startswith(WORK) for kind in strays):
        what = ", ".join(f"{count} {kind}" for kind, count in strays.most_common(3))
        raise DeviceError(
            f"{device} was asked for, but parts of this backbone run on the CPU ({what}), which is slower than either "
            "alone: use its fp32 or fp16 form, or let the device be `auto`, which runs all of this one on the CPU"
        )


def computed_on_cpu(session: Any) -> Counter[str]:
    """Nodes that a session computes on the CPU, counted by operator, but for what is reckoned from shapes.

    Assignments are kept only when the session was made with `session.record_ep_graph_assignment_info`.
    """
    parts = session.get_provider_graph_assignment_info()
    kinds = [node.op_type for part in parts if part.ep_name == CPU for node in part.get_nodes()]
    return Counter(kind for kind in kinds if kind not in SHAPES)


@functools.cache
def _trouble() -> str | None:
    """Why nothing can run on a GPU in this process, in words that follow "but"; None when it can."""
    if CUDA not in ort.get_available_providers():
        return "this onnxruntime has no CUDA; install the `gpu` extra, not `cpu`"
    ort.preload_dlls()  # the CUDA libraries that come as Python packages are not where the loader looks
    try:
        ort.OrtValue.ortvalue_from_numpy(np.zeros(1, np.float32), "cuda", 0)
    except Exception as error:  # no GPU, no driver, a library of another version: each has its own
        log.warning("onnxruntime has CUDA, but nothing could be put on a GPU: %s", error)
        return f"nothing could be put on a GPU ({error}); `nvidia-smi` should list one, with a driver for CUDA 13"
    return None
