"""`python -m benchmarks.gpu`: exits with 1 when a check fails or a step breaks off."""

import argparse

import onnxruntime as ort
import torch

from adapters.types import Device
from benchmarks import record
from benchmarks.gpu import bare, checks, scene, served, teaching
from benchmarks.gpu.findings import Findings


def main(device: Device, quick: bool = False) -> Findings:
    """Try every step; prints as it goes."""
    findings = Findings()
    recorded = device != "cpu" and not quick and torch.cuda.is_available()
    with scene.prepared(device, scene.QUICK if quick else scene.FULL) as prepared:
        for part in (checks, bare, teaching, served):
            part.run(prepared, findings)
            if recorded:  # after each part: a machine that is taken back leaves what there was
                record.save("gpu", findings.whole(notes(), {"race: seconds": teaching.MAX_RACE}))
    return findings


def notes() -> dict[str, str]:
    """The GPU, and what onnxruntime can use."""
    providers = ", ".join(ort.get_available_providers())
    return {"GPU": torch.cuda.get_device_name(), "CUDA of torch": str(torch.version.cuda), "Providers": providers}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny settings, nothing recorded: is it sound?")
    options = parser.parse_args()
    found = main(options.device, options.quick)
    print("\n".join(found.wrong) or "all checks passed")
    raise SystemExit(bool(found.wrong))
