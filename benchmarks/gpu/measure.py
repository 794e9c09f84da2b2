"""The whole run, recorded part by part."""

from typing import Any

import onnxruntime as ort
import torch

from adapters.types import Device
from benchmarks import record
from benchmarks.gpu import bare, checks, scene, served, tails, teaching
from benchmarks.gpu.findings import Findings


def main(quick: bool = False) -> dict[str, Any]:
    """As `python -m benchmarks gpu` has it: on CUDA, or quickly on the CPU. Exits when something is wrong."""
    found = run("cpu" if quick else "cuda", quick)
    if found.wrong:
        raise SystemExit("\n".join(found.wrong))
    return found.whole(*_circumstances()) if not quick else found.results


def run(device: Device, quick: bool = False) -> Findings:
    """Try every step; prints as it goes."""
    findings = Findings()
    recorded = device != "cpu" and not quick and torch.cuda.is_available()
    with scene.prepared(device, scene.QUICK if quick else scene.FULL) as prepared:
        for part in (checks, bare, tails, teaching, served):
            part.run(prepared, findings)
            if recorded:  # after each part: a machine that is taken back leaves what there was
                record.save("gpu", findings.whole(*_circumstances()))
    return findings


def _circumstances() -> tuple[dict[str, str], dict[str, float]]:
    """The GPU and what onnxruntime can use, as notes; and limits."""
    providers = ", ".join(ort.get_available_providers())
    notes = {"GPU": torch.cuda.get_device_name(), "CUDA of torch": str(torch.version.cuda), "Providers": providers}
    return notes, {"race: seconds": teaching.MAX_RACE}
