"""A timm model → one ONNX file: uint8 [N, H, W, C] in, `pooled` [N, D] and `features` [N, C, h, w] out.

Cast, normalisation and transposition are inside the graph: in numpy they cost 0.6 ms an image, in the graph nothing.
"""

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from adapters.backbones import pools
from adapters.errors import InvalidInput
from adapters.modalities.image.spec import Pixels, Preprocessing
from adapters.types import Embeddings, Floats

if TYPE_CHECKING:
    import torch

OPSET = 18


def export(model: "torch.nn.Module", preprocessing: Preprocessing) -> bytes:
    """The ONNX file of a backbone, batch dimension free, without traces of the machine that made it.

    Raises InvalidInput for a model that torch cannot export at this size.
    """
    import torch

    graph = _graph(model, preprocessing)
    pixels = torch.zeros((2, preprocessing.size, preprocessing.size, preprocessing.channels), dtype=torch.uint8)
    buffer = io.BytesIO()
    batch = {0: "batch"}
    # The tracing exporter: a second or two, no extra package, and it keeps named batch dimensions (timm's own
    # helper keys them to 'input0' whatever the names are).
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Constant folding", category=UserWarning)  # of pads; ORT folds them
        # Sizes are fixed in the graph, on purpose.
        warnings.filterwarnings("ignore", message="Converting a tensor to a Python", category=torch.jit.TracerWarning)
        with pools.written_out(), _refused(preprocessing.size):
            torch.onnx.export(
                graph, (pixels,), buffer, input_names=["pixels"], output_names=["pooled", "features"],
                opset_version=OPSET, dynamic_axes={"pixels": batch, "pooled": batch, "features": batch}, dynamo=False,
            )  # fmt: skip
    with torch.no_grad():
        pooled, features = graph(pixels)
    return _clean(buffer.getvalue(), {"pooled": pooled.shape[1:], "features": features.shape[1:]})


@contextmanager
def _refused(size: int) -> Iterator[None]:
    """What torch says of a graph that it cannot export, in one line."""
    import torch

    try:
        yield
    except (torch.onnx.errors.OnnxExporterError, RuntimeError) as error:
        why = str(error).strip().partition("\n")[0][:200]
        raise InvalidInput(f"torch cannot export this model for images of {size} pixels: {why}", item="size") from error


def reference(model: "torch.nn.Module", preprocessing: Preprocessing, pixels: Pixels) -> tuple[Embeddings, Floats]:
    """What torch answers for the same pixels: pooled f32 [N, D], features f32 [N, C, h, w]."""
    import torch

    with torch.no_grad():
        pooled, features = _graph(model, preprocessing)(torch.from_numpy(np.array(pixels)))
    return pooled.numpy(), features.numpy()


def _graph(model: "torch.nn.Module", preprocessing: Preprocessing) -> "torch.nn.Module":
    import torch

    std = torch.tensor(preprocessing.std).view(1, -1, 1, 1)
    scale, shift = 1 / (255 * std), torch.tensor(preprocessing.mean).view(1, -1, 1, 1) / std

    class Graph(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model
            self.register_buffer("scale", scale)
            self.register_buffer("shift", shift)

        def forward(self, pixels: Any) -> Any:  # [N, H, W, C] uint8
            x = pixels.permute(0, 3, 1, 2).float() * self.scale - self.shift
            features = self.model.forward_features(x)
            # Not a mean over `features`: MobileNetV3 and GhostNet have a layer between pooling and classifier.
            pooled = self.model.forward_head(features, pre_logits=True)
            return pooled, _as_map(self.model, features)

    _freeze_same_padding(model, preprocessing.size, preprocessing.channels)
    return Graph().eval()


def _as_map(model: Any, features: Any) -> Any:
    """Whatever timm's `forward_features` gives → [N, C, h, w]: tokens lose their prefix, NHWC is turned."""
    if features.ndim == 3:
        height, width = model.patch_embed.grid_size
        tokens = features[:, model.num_prefix_tokens :]
        return tokens.transpose(1, 2).reshape(-1, tokens.shape[2], height, width)
    return features.permute(0, 3, 1, 2) if getattr(model, "output_fmt", "NCHW") == "NHWC" else features


def _freeze_same_padding(model: "torch.nn.Module", size: int, channels: int) -> None:
    """TensorFlow's 'same' padding depends on the input size; ours is fixed, so compute it once.

    Left dynamic it becomes some forty shape nodes per convolution that no optimiser folds.
    """
    import torch
    from timm.layers import Conv2dSame, pad_same

    class Padded(torch.nn.Module):
        def __init__(self, conv: Any, padding: tuple[int, ...]) -> None:
            super().__init__()
            self.conv, self.padding = conv, padding

        def forward(self, x: Any) -> Any:
            conv = self.conv
            # The value is written out for ONNX Runtime, which puts a padding into the convolution after it only where
            # one is given. Left out, five of them cost a fifth of a pass (docs/concepts/what-bounds-speed.md).
            x = torch.nn.functional.pad(x, self.padding, value=0.0)
            return torch.nn.functional.conv2d(x, conv.weight, conv.bias, conv.stride, 0, conv.dilation, conv.groups)

    found: dict[str, tuple[int, ...]] = {}

    def record(name: str) -> Any:
        def hook(conv: Any, inputs: Any) -> None:
            (x,) = inputs
            probe = pad_same(torch.zeros(1, 1, *x.shape[-2:]), conv.kernel_size, conv.stride, conv.dilation)
            extra = [probe.shape[-1] - x.shape[-1], probe.shape[-2] - x.shape[-2]]
            found[name] = tuple(part for e in extra for part in (e // 2, e - e // 2))

        return hook

    convolutions = {name: m for name, m in model.named_modules() if isinstance(m, Conv2dSame)}
    hooks = [conv.register_forward_pre_hook(record(name)) for name, conv in convolutions.items()]
    with torch.no_grad():
        model.eval()(torch.zeros(1, channels, size, size))
    for hook in hooks:
        hook.remove()
    for name, padding in found.items():
        model.set_submodule(name, Padded(convolutions[name], padding))


def _clean(data: bytes, shapes: dict[str, Any]) -> bytes:
    """Name the dimensions, drop what the exporter wrote about this machine, check the file."""
    import onnx

    graph = onnx.load_from_string(data)
    for node in graph.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for output in graph.graph.output:
        for position, length in enumerate(shapes[output.name], start=1):
            dimension = output.type.tensor_type.shape.dim[position]
            dimension.Clear()
            dimension.dim_value = int(length)
    onnx.checker.check_model(graph, full_check=True)
    return graph.SerializeToString(deterministic=True)
