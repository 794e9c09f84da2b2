"""Deep heads on the GPU and on the CPU: runs a second by inputs of a run, alone and by lanes that ask at once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from adapters.runtime.heads.head import DeepHead, Head, HeadAnswers
from adapters.types import Device
from benchmarks import record
from benchmarks.deep_copies import CutBackbone
from benchmarks.gpu.findings import Findings
from benchmarks.gpu.scene import Scene

CUTS = ("blocks.5", "blocks.4")
CLASSES = ("a", "b", "c", "d")
ROUNDS = 4  # runs of each lane in a turn
CLOSE = 1e-4  # by which probabilities may differ between devices


def run(scene: Scene, findings: Findings) -> None:
    """Of tails of the default backbone in fp32, by their cut."""
    for cut in CUTS:
        findings.attempt(f"deep head after {cut}", lambda c=cut: _of(scene, findings, c))


def _of(scene: Scene, findings: Findings, name: str) -> dict[str, Any]:
    base = scene.backbones["fp32"]
    parts = CutBackbone.of(scene.artifacts.get(base.artifact), base.spec.size, name, base.dimension)
    graph, shape = parts.head(0, CLASSES), parts.cut.shape
    taps = np.random.default_rng(0).random((max(scene.plan.batches), *shape)).astype(np.float32)
    heads = {device: _head(graph, device) for device in dict.fromkeys((scene.device, "cpu"))}
    rows: dict[str, Any] = {}
    for device, head in heads.items():
        findings.expect(head.device == device, f"a deep head after {name} runs on {head.device}, not on {device}")
        for count in scene.plan.batches:
            rows[f"{device}_inputs_per_second_{count}"] = scene.rate(lambda h=head, t=taps[:count]: h.answer(t), count)
        rows[f"{device}_inputs_per_second_by_lanes"] = _by_lanes(scene, head, taps[:1])
    return rows | _agreement(findings, name, [head.answer(taps) for head in heads.values()])


def _head(graph: bytes, device: Device) -> DeepHead:
    head = Head.from_bytes(graph, device)
    assert isinstance(head, DeepHead)
    return head


def _by_lanes(scene: Scene, head: DeepHead, one: np.ndarray) -> dict[str, float]:
    """As many inputs at a time as there are lanes, each with a run of its own to ask for."""
    asked = [one] * (ROUNDS * scene.lanes)
    with ThreadPoolExecutor(scene.lanes) as pool:
        return scene.rate(lambda: list(pool.map(head.answer, asked)), len(asked))


def _agreement(findings: Findings, name: str, said: list[HeadAnswers]) -> dict[str, Any]:
    """Of two devices, where there are two."""
    first, last = (answers.arrays["probabilities"] for answers in (said[0], said[-1]))
    apart = float(np.abs(first - last).max())
    findings.expect(apart <= CLOSE, f"after {name}: probabilities differ by {apart:.2e} between devices, not {CLOSE}")
    return {"probabilities_apart": record.spread([apart])} if len(said) > 1 else {}
