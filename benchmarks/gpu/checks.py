"""Is the GPU really used, all of it, and does it answer as the CPU does?"""

from typing import Any

import numpy as np
import onnxruntime as ort

from adapters import tasks
from adapters.errors import DeviceError
from adapters.modalities import image
from adapters.modalities.image import Pixels
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.onnx import devices
from adapters.training import programs
from adapters.training.backbone.precisions import fp16
from adapters.training.data.split import split
from adapters.training.race.race import race
from adapters.types import Embeddings
from benchmarks import photos, record
from benchmarks.gpu.findings import Findings, LeftOut
from benchmarks.gpu.scene import PRECISIONS, Scene

SAME = 0.99999  # least cosine between fp32 embeddings of two devices
CLOSE = 0.9999  # the same where TensorRT has a say: it may compute fp32 in TF32
AGREEMENT = 0.99  # share of images for which a head decides alike
CLASSES = 4


def run(scene: Scene, findings: Findings) -> None:
    """All checks. Figures go to the results, what is wrong to the failures."""
    findings.attempt("placement", lambda: _placement(scene, findings))
    findings.attempt("agreement", lambda: _agreement(scene, findings))
    findings.attempt("tensorrt", lambda: _tensorrt(scene, findings))


def _placement(scene: Scene, findings: Findings) -> dict[str, Any]:
    """Nodes that a GPU leaves to the CPU, and whether torch sees the GPU that heads are trained on."""
    if scene.device == "cpu":
        raise LeftOut("this run is on the CPU")
    findings.expect(programs.device().type == "cuda", "torch sees no GPU, so heads would be trained on the CPU")
    return {precision: _strays(scene.session(precision)) for precision in PRECISIONS}


def _strays(session: BackboneSession) -> dict[str, Any]:
    """Loading has refused already what does not run whole; this is what `auto` would have seen."""
    count = devices.computed_on_cpu(session._session).total()
    return {"nodes_on_cpu": record.spread([float(count)])}


def _agreement(scene: Scene, findings: Findings) -> dict[str, Any]:
    """Cosines between devices, ways to run and precisions, and how often a head decides alike."""
    pictures, labels = _pictures(scene)
    full, half = (scene.session(precision) for precision in PRECISIONS)
    wanted = np.concatenate([scene.session("fp32", "cpu").plain({"pixels": p[None]}) for p in pictures])
    found = {
        "fp32_with_cpu": _least(full.embed({"pixels": pictures}), wanted),
        "bound_with_run": _least(full.bound.embed({"pixels": pictures[:64]}), full.plain({"pixels": pictures[:64]})),
        "fp16_with_fp32": _least(half.embed({"pixels": pictures}), full.embed({"pixels": pictures})),
    }
    same = _decides_alike(full.embed({"pixels": pictures}), half.embed({"pixels": pictures}), labels)
    for name, floor in (("fp32_with_cpu", SAME), ("bound_with_run", SAME), ("fp16_with_fp32", fp16.LEAST_WORST)):
        findings.expect(found[name] >= floor, f"{name}: least cosine {found[name]:.6f}, not {floor}")
    findings.expect(same >= AGREEMENT, f"a head decides alike in fp16 for {same:.1%} of images, not {AGREEMENT:.0%}")
    rows = {f"{name}_cosine": record.spread([value]) for name, value in found.items()}
    return rows | {"fp16_decisions_alike": record.spread([same])}


def _tensorrt(scene: Scene, findings: Findings) -> dict[str, Any]:
    """The same of TensorRT, with its speed: figures for whether to ask for it."""
    if scene.device == "cpu" or devices.TENSORRT not in ort.get_available_providers():
        raise LeftOut("this onnxruntime was built without TensorRT" if scene.device != "cpu" else "a run on the CPU")
    pictures, found = scene.pixels(max(scene.plan.batches)), {}
    for precision in PRECISIONS:
        fast, plain = _on_tensorrt(scene, precision), scene.session(precision)
        least = _least(fast.embed({"pixels": pictures}), plain.embed({"pixels": pictures}))
        floor = CLOSE if precision == "fp32" else fp16.LEAST_WORST
        findings.expect(least >= floor, f"TensorRT, {precision}: least cosine {least:.6f} with CUDA, not {floor}")
        rates = {
            f"images_per_second_{n}": scene.rate(lambda n=n, s=fast: s.embed({"pixels": pictures[:n]}), n)
            for n in scene.plan.batches
        }
        found[precision] = {"cosine_with_cuda": record.spread([least])} | rates
    return found


def _on_tensorrt(scene: Scene, precision: str) -> BackboneSession:
    try:
        return scene.session(precision, "tensorrt")
    except DeviceError as error:  # onnxruntime lists it wherever it was built with it, library or not
        raise LeftOut(error.message) from error


def _pictures(scene: Scene) -> tuple[Pixels, Any]:
    """Photos uint8 [N, S, S, 3] and their classes i64 [N]."""
    shape = scene.backbones["fp32"].spec
    made = photos.crops(scene.plan.images, classes=CLASSES)
    return np.stack([image.pixels(data, shape) for data, _ in made]), np.arange(len(made)) % CLASSES


def _least(a: Embeddings, b: Embeddings) -> float:
    """The least cosine between rows, f32 [N, D] each."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    return float(((x * y).sum(axis=1) / (np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1))).min())


def _decides_alike(full: Embeddings, half: Embeddings, labels: Any) -> float:
    """Share of images that a head trained on the first embeddings puts into one class by either."""
    nothing: list[Any] = [None] * len(labels)
    parts = split(labels, np.arange(len(labels)), nothing, nothing, 0)
    names = [str(k) for k in range(CLASSES)]
    task = tasks.get("classification")
    program = race(full, {"class": labels}, names, parts, task, "logistic", {}, 0, lambda _: None, lambda: None).program
    decisions = [programs.run(program, embeddings).argmax(axis=1) for embeddings in (full, half)]
    return float((decisions[0] == decisions[1]).mean())
