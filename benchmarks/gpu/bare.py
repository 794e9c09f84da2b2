"""Backbones without a service: images a second from pixels in host memory to embeddings in host memory."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from unittest import mock

from adapters.backbones import exporter, loader
from adapters.backbones.cards import DEFAULT, embedded_card
from adapters.errors import DeviceError
from adapters.modalities.image import Pixels
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.batcher import IN_FLIGHT
from adapters.runtime.onnx import devices
from benchmarks import record
from benchmarks.gpu.findings import Findings, LeftOut
from benchmarks.gpu.scene import PRECISIONS, Scene

OPTIONS: dict[str, devices.Options] = {  # of CUDA's provider, beside those that serve
    "exhaustive": {"cudnn_conv_algo_search": "EXHAUSTIVE"},
    "channels_last": {"prefer_nhwc": "1"},
    "tf32": {"use_tf32": "1"},
}

Rates = dict[str, Any]
Forward = Callable[[Any], Any]  # uint8 [N, S, S, 3] on the device → f32 [N, D] there


def run(scene: Scene, findings: Findings) -> None:
    """ONNX Runtime by batch size and precision, its options, and torch in three ways."""
    for precision in PRECISIONS:
        findings.attempt(f"bare {precision}", lambda p=precision: _by_batch(scene, p))
        findings.attempt(f"bare {precision} in company", lambda p=precision: _in_company(scene, p))
    for name, options in OPTIONS.items():
        findings.attempt(f"option {name}", lambda o=options: _with_options(scene, o))
    findings.attempt("torch eager", lambda: _torch(scene, _eager, scene.plan.batches))
    findings.attempt("torch channels last, fp16", lambda: _torch(scene, _half, scene.plan.batches))
    findings.attempt("torch compiled, fp16", lambda: _torch(scene, _compiled, scene.plan.compiled))


def _by_batch(scene: Scene, precision: str) -> Rates:
    """With IO binding, as a GPU serves, and with a plain run, one pass after the other."""
    session, rows = scene.session(precision), {}
    bound = session.bound
    for count in scene.plan.batches:
        pixels = scene.pixels(count)
        rows[f"bound_images_per_second_{count}"] = scene.rate(lambda p=pixels: bound.embed({"pixels": p}), count)
        rows[f"run_images_per_second_{count}"] = scene.rate(lambda p=pixels: session.plain({"pixels": p}), count)
    return rows


def _in_company(scene: Scene, precision: str) -> Rates:
    """Two passes in flight, as the batcher has them; and batch sizes in turn, which must not cost what tuning costs."""
    bound, batches = scene.session(precision).bound, scene.plan.batches
    pixels = [{"pixels": scene.pixels(count)} for count in batches]
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        both = scene.rate(lambda: list(pool.map(bound.embed, pixels[-1:] * IN_FLIGHT)), IN_FLIGHT * batches[-1])
    return {
        f"two_in_flight_images_per_second_{batches[-1]}": both,
        "sizes_in_turn_images_per_second": scene.rate(lambda: [bound.embed(p) for p in pixels], sum(batches)),
    }


def _with_options(scene: Scene, options: devices.Options) -> Rates:
    """Other options of CUDA's provider: do they pay, and how long does the start take then?"""
    if scene.device != "cuda":
        raise LeftOut("an option of CUDA's provider")
    rows: Rates = {}
    for precision in PRECISIONS:
        began = time.perf_counter()
        session = _loaded(scene, precision, options)
        rows[f"{precision}_start_s"] = record.spread([time.perf_counter() - began])
        for count in (scene.plan.batches[0], scene.plan.batches[-1]):
            pixels = scene.pixels(count)
            rate = scene.rate(lambda s=session, p=pixels: s.embed({"pixels": p}), count)
            rows[f"{precision}_images_per_second_{count}"] = rate
    return rows


def _loaded(scene: Scene, precision: str, options: devices.Options) -> BackboneSession:
    with mock.patch.dict(devices.CUDA_OPTIONS, options):
        try:
            return scene.fresh(precision, "cuda")
        except DeviceError as error:  # with this option parts of the graph have no kernel
            raise LeftOut(error.message) from error


def _torch(scene: Scene, form: Callable[[Any, str], Forward], batches: Sequence[int]) -> Rates:
    """The same model in torch, from pinned memory as well."""
    import torch

    if not batches:
        raise LeftOut("not in a quick run")
    where = "cpu" if scene.device == "cpu" else "cuda"
    torch.backends.cudnn.allow_tf32 = False  # as our fp32
    forward = form(_model(scene, where), where)
    return {
        f"images_per_second_{count}": scene.rate(_pass(forward, scene.pixels(count), where), count) for count in batches
    }


def _model(scene: Scene, where: str) -> Any:
    model, preprocessing = loader.load(embedded_card(DEFAULT))
    return exporter._graph(model, preprocessing).to(where)


def _pass(forward: Forward, pixels: Pixels, where: str) -> Callable[[], Any]:
    import torch

    tensor = torch.from_numpy(pixels)
    staged = tensor.pin_memory() if where == "cuda" else tensor

    def run() -> Any:
        with torch.inference_mode():
            return forward(staged.to(where, non_blocking=True)).float().cpu()

    return run


def _eager(model: Any, where: str) -> Forward:
    return lambda pixels: model(pixels)[0]


def _half(model: Any, where: str) -> Forward:
    """As PyTorch's tuning guide advises: channels last, and half precision where it is safe."""
    import torch

    model = model.to(memory_format=torch.channels_last)
    kind = torch.float16 if where == "cuda" else torch.bfloat16

    def forward(pixels: Any) -> Any:
        with torch.autocast(where, kind):
            return model(pixels)[0]

    return forward


def _compiled(model: Any, where: str) -> Forward:
    """The same, compiled: each batch size for itself."""
    import torch

    compiled = torch.compile(_half(model, where), dynamic=False)

    def forward(pixels: Any) -> Any:
        try:
            return compiled(pixels)
        except Exception as error:  # no compiler, or a version that does not fit
            raise LeftOut(f"torch.compile: {type(error).__name__}: {str(error)[:200]}") from error

    return forward
