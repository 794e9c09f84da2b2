"""int8 on a processor without VNNI: the same bits. QEMU translates for an Intel Haswell, which has AVX2 and no VNNI."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.services import ROOT

from adapters.modalities.image import calibration
from adapters.runtime.onnx import processor, session
from adapters.store import backbones, database
from adapters.store.objects.artifacts import Artifacts
from adapters.training.backbone.precisions import int8

QEMU = shutil.which("qemu-x86_64") or shutil.which("qemu-x86_64-static")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(QEMU is None, reason="there is no qemu-x86_64 (Debian: qemu-user)"),
    pytest.mark.skipif(not processor.fast_int8(), reason="this processor has no VNNI to compare with"),
]
# As ONNX Runtime opens a graph by itself, as `session.create` does, by the file that processes map, and as deep heads.
SCRIPT = """
import sys
from pathlib import Path

import numpy as np
import onnxruntime as ort

from adapters.modalities import image
from adapters.runtime.onnx import processor, session
from adapters.runtime.onnx.mapped import MappedGraphs
from adapters.types import Backbone

processor.fast_int8 = lambda: False  # QEMU shows it the /proc/cpuinfo of the processor below
folder = Path(sys.argv[1])
graph, pixels = folder / "graph.onnx", np.load(folder / "pixels.npy")
spec = image.Spec(pixels.shape[1], 1.0, "bicubic", (0.5,) * 3, (0.5,) * 3)
mapped = MappedGraphs(folder / "mapped").graph(Backbone("x", "d" * 64, "", spec, "int8", 1280, 1280), graph.read_bytes)
plain = ort.InferenceSession(str(graph), providers=["CPUExecutionProvider"])
session.optimize(str(graph), str(folder / "optimized.onnx"))
as_deep = session.create(str(folder / "optimized.onnx"), optimized=True)
opened = {"plain": plain, "ours": session.create(str(graph)), "mapped": session.create(mapped), "as_deep": as_deep}
for name, each in opened.items():
    np.save(folder / f"{name}.npy", np.concatenate([each.run(["pooled"], {"pixels": p[None]})[0] for p in pixels]))
"""


@pytest.fixture(scope="module")
def graph(prepared: Path) -> bytes:
    """The embedded backbone in int8."""
    engine = database.connect(f"sqlite:///{prepared / 'espalier.sqlite'}")
    full = backbones.find(engine, "tf_efficientnet_lite0")
    engine.dispose()
    original = Artifacts(str(prepared / "artifacts")).get(full.artifact)
    return int8.convert(original, calibration.crops(full.spec).calibrated[:20])


def test_a_processor_without_vnni_answers_bit_for_bit_as_one_with_it(graph, tmp_path):
    """So a home may move between them. Without the option that our sessions are opened with, sums overflow."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    (tmp_path / "graph.onnx").write_bytes(graph)
    np.save(tmp_path / "pixels.npy", pixels)
    command = [str(QEMU), "-cpu", "Haswell", sys.executable, "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    here = session.create(graph)
    wanted = np.concatenate([here.run(["pooled"], {"pixels": p[None]})[0] for p in pixels])
    plain, *others = (np.load(tmp_path / f"{name}.npy") for name in ("plain", "ours", "mapped", "as_deep"))
    for found in others:
        np.testing.assert_array_equal(found, wanted)
    assert np.abs(plain - wanted).max() > 0.1
