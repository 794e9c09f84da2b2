"""A backbone of three small blocks that can be cut and trained in well under a second, and a bench to teach on it.

Classes are the direction of stripes, whose colours and places say nothing: what a few random filters tell of that,
pooled, is little, and what is left to learn is a lot.
"""

import hashlib
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from adapters import finetune as pipeline
from adapters.modalities.image import Preprocessing
from adapters.runtime.backbone import Backbones
from adapters.runtime.heads.head import Head
from adapters.store import backbones, database, heads
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Backbone, Example, HeadRef, HeadVersion, SplitName
from support.training import Bench, Picture

SIDE, CHANNELS = 16, (6, 8, 12)
QUICK = {"epochs": 1, "unfreeze": "blocks.1"}
DEEP = {"backbone": "blocks", "method": "deep", "deep": "only", "hyperparameters": QUICK}  # of a job
BLOCKS = Backbone(
    name="blocks", digest="k" * 64, artifact="", precision="fp32", dimension=CHANNELS[-1], channels=CHANNELS[-1],
    spec=Preprocessing(SIDE, 1.0, "nearest", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
)  # fmt: skip
CLASSES = {"across": (0, 1), "down": (1, 0), "slanted": (1, 1)}  # class → steps between stripes, by row and column


def graph() -> bytes:
    """u8 [N, 16, 16, 3] → `pooled` f32 [N, 12] and `features`, through convolutions that halve the side twice."""
    random = np.random.default_rng(0)
    constants = {"half": np.array(127.5, np.float32)}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["real", "half"], ["centred"]),
        helper.make_node("Div", ["centred", "half"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["x"], perm=[0, 3, 1, 2]),
    ]
    source, channels = "x", 3
    for number, width in enumerate(CHANNELS):
        stem = f"/blocks/blocks.{number}"
        constants[f"w{number}"] = random.normal(size=(width, channels, 3, 3)) * np.sqrt(2 / (9 * channels))
        constants[f"b{number}"] = np.zeros(width)
        stride = [2, 2] if number else [1, 1]
        nodes += [
            helper.make_node(
                "Conv", [source, f"w{number}", f"b{number}"], [f"{stem}/conv/Conv_output_0"], f"{stem}/conv/Conv",
                kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=stride,
            ),
            helper.make_node("Relu", [f"{stem}/conv/Conv_output_0"], [f"{stem}/act/Relu_output_0"], f"{stem}/act/Relu"),
        ]  # fmt: skip
        source, channels = f"{stem}/act/Relu_output_0", width
    nodes += [
        helper.make_node("Identity", [source], ["features"]),
        helper.make_node("GlobalAveragePool", [source], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["pooled"]),
    ]
    pixels = helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])
    outputs = [
        helper.make_tensor_value_info("pooled", TensorProto.FLOAT, ["batch", channels]),
        helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", channels, 4, 4]),
    ]
    weights = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "blocks", [pixels], outputs, weights)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def stripes(number: int, label: str, split: SplitName | None = None) -> Picture:
    """Stripes in two random colours, begun anywhere, with noise; another number is another picture."""
    random = np.random.default_rng(number)
    down, along = CLASSES[label]
    rows, columns = np.indices((SIDE, SIDE))
    lit = ((down * columns + along * rows + random.integers(0, 8)) % 8 < 4)[..., None]
    one, other = random.integers(40, 215, (2, 3))
    pixels = np.where(lit, one, other) + random.normal(0, 12, (SIDE, SIDE, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "BMP")
    data = file.getvalue()
    return Picture(data, Example(hashlib.sha256(data).hexdigest(), label, f"{label}-{number}.bmp", split))


def pictures(each: int, first: int = 0, classes: tuple[str, ...] = tuple(CLASSES)) -> list[Picture]:
    """So many of each class."""
    return [stripes(1000 * place + number, label) for place, label in enumerate(classes)
            for number in range(first, first + each)]  # fmt: skip


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """Nothing taught yet."""
    engine = database.connect(f"sqlite:///{folder / 'espalier.sqlite'}")
    database.migrate(engine)
    artifacts = Artifacts(str(folder))
    backbones.save(engine, replace(BLOCKS, artifact=artifacts.put(graph())))

    def load(source: Any) -> tuple[Backbone, bytes]:
        found = backbones.find_source(engine, source)
        return found, backbones.stored(artifacts, found)

    most = {"image": 10**6}
    context = pipeline.TrainingContext(engine, artifacts, Backbones(load), lanes=2, most=most, folder=folder / "deep")
    yield Bench(context)
    engine.dispose()


def live(shop: Bench, head: str) -> HeadVersion:
    """The version that is served."""
    return heads.resolve(shop.shop.engine, HeadRef(head))


def left(shop: Bench, job_id: str) -> bool:
    """Whether a job that is over has left something on the disk."""
    return (shop.shop.folder / job_id).exists()


def said(shop: Bench, version: HeadVersion, some: list[Example]) -> np.ndarray:
    """What a version makes of examples, f32 [N, K]."""
    head = Head.from_bytes(heads.stored(shop.shop.artifacts, version))
    return shop.shop.trunks.said(head, version, some)["probabilities"]


def graph_without_names(shop: Bench, version: HeadVersion) -> bytes:
    """A version's graph, to compare it with that of another head."""
    model = onnx.load_from_string(heads.stored(shop.shop.artifacts, version))
    model.ClearField("metadata_props")  # the head's name is there
    return bytes(model.SerializeToString(deterministic=True))
