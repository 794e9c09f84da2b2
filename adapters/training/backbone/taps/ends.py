"""The ends of a backbone's blocks: tensors of the exported graph that every path from pixels to `pooled` passes.

Found in the graph and not in the model, so that it works for whatever timm exports and for graphs that exist already:
a residual block ends where two paths join, an inverted residual one without a join at its narrow convolution, and where
a network has neither (VGG), the last map of a size is taken.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

Layout = Literal["channels first", "channels last", "tokens"]
Shape = tuple[int, ...]

INPUT, POOLED, FEATURES = "pixels", "pooled", "features"
JOINS = ("Add", "Concat")
CONVOLUTIONS = ("Conv", "Pad")  # what a narrow map goes into; anything else would be its activation
# Operators of one input that follow a join and belong to its block, or keep a value in 8 bits.
FOLLOWERS = ("Relu", "Clip", "LeakyRelu", "Elu", "QuantizeLinear", "DequantizeLinear")
ROUNDING = ("QuantizeLinear", "DequantizeLinear")
FINEST = 8  # pixels a step of the map: finer ones take longer to read, and said no more (docs/adr/0010)
DEPTHS = (0.5, 0.75)  # of a transformer, whose blocks are all of one shape


@dataclass(frozen=True, slots=True)
class End:
    """Where a block ends."""

    name: str  # of the block, as the model calls it
    tensor: str  # in the graph
    layout: Layout
    shape: Shape  # of one image: [C, h, w], [h, w, C], or [T, C]

    @property
    def channels(self) -> int:
        """C."""
        return self.shape[0] if self.layout == "channels first" else self.shape[-1]

    @property
    def size(self) -> Shape:
        """Height and width, or the number of tokens."""
        return self.shape[1:] if self.layout == "channels first" else self.shape[:-1]


def find(graph: Any, side: int, shapes: Callable[[Sequence[str]], list[Shape]]) -> list[End]:
    """The last end of each run of blocks of one shape, shallow ones first; of transformers those at two depths.

    `graph` is an onnx GraphProto that takes images of `side` pixels; `shapes` runs it and tells the shape that tensors
    have for one image. What `pooled` is the mean of is left out: it would be said twice.
    """
    passed = _passed(graph)
    told = dict(zip([*passed, FEATURES], shapes([*passed, FEATURES]), strict=True))
    known = [end for tensor in passed if (end := _end(tensor, told[tensor], side)) and tensor != FEATURES]
    marked = _marked(graph, passed, told)
    chosen = _chosen(known, marked)
    runs = [list(run) for _, run in groupby(chosen, lambda end: (end.size, _width(end, marked)))]
    last = [end for run in runs for end in _of_run(run)]
    return [end for end in last if not _is_pooled(end, told[FEATURES], told[POOLED])]


def _chosen(ends: list[End], marked: set[str]) -> list[End]:
    """Marked tokens where no map is marked: a transformer. Else maps: marked ones, and of sizes without any all.

    The windows of Swin are tokens between its maps.
    """
    maps = [end for end in ends if end.layout != "tokens"]
    sizes = {end.size for end in maps if end.tensor in marked}
    tokens = [end for end in ends if end.layout == "tokens" and end.tensor in marked]
    if tokens and not sizes:
        return tokens
    return [end for end in maps if end.tensor in marked or end.size not in sizes]


def _width(end: End, marked: set[str]) -> int:
    """Unmarked maps of one size are one run, whatever their channels."""
    return end.channels if end.tensor in marked else 0


def _of_run(run: list[End]) -> list[End]:
    if run[0].layout != "tokens":
        return run[-1:]
    return [run[round(depth * len(run)) - 1] for depth in DEPTHS] if len(run) > 2 else run


def _is_pooled(end: End, features: Shape, pooled: Shape) -> bool:
    """Whether an end is the last map in all but its last activation or normalisation."""
    return end.layout != "tokens" and end.channels == pooled[0] and end.size == features[1:]


def _end(tensor: str, shape: Shape, side: int) -> End | None:
    """None for a tensor that is no map, a map too fine to read, or one without room for regions."""
    layout = _layout(shape)
    if layout is None:
        return None
    end = End(_block(tensor), tensor, layout, shape)
    coarse = layout == "tokens" or (1 < max(end.size) <= side // FINEST)
    return end if coarse else None


def _layout(shape: Shape) -> Layout | None:
    if len(shape) == 2 and shape[0] > 1:
        return "tokens"
    if len(shape) != 3:
        return None
    return "channels last" if shape[0] == shape[1] != shape[2] else "channels first"


def _block(tensor: str) -> str:
    """`/blocks/blocks.4/blocks.4.2/Add_output_0` → `blocks.4.2`, `/s2/b1/act3/Relu_output_0` → `s2.b1`."""
    parts = tensor.strip("/").split("/")[:-1] or [tensor]
    numbered = [part for part in parts if "." in part and not part.endswith(".")]
    if numbered:
        return numbered[-1]
    inner = [part for part in parts if not part.startswith(("act", "relu", "drop"))]
    return ".".join(inner or parts)


# What every path passes
def _passed(graph: Any) -> list[str]:
    """Names of the tensors that every path from the pixels to `pooled` passes, in order; padded ones are none."""
    nodes = _between(graph)
    last_use = {name: position for position, node in enumerate(nodes) for name in node.input}
    waiting: set[str] = set()
    found = []
    for position, node in enumerate(nodes):
        waiting = {name for name in waiting if last_use.get(name, -1) > position}
        waiting |= {name for name in node.output if last_use.get(name, -1) > position}
        if len(waiting) == 1 and node.output[0] in waiting and node.op_type != "Pad":
            found.append(node.output[0])
    return [*found, POOLED]


def _between(graph: Any) -> list[Any]:
    """The nodes that carry what is seen from the pixels to `pooled`; what reads only a shape carries nothing."""
    seen = {INPUT}
    for node in graph.node:
        if node.op_type != "Shape" and seen & set(node.input):
            seen |= set(node.output)
    wanted = {POOLED}
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input) & seen
    return [node for node in graph.node if wanted & set(node.output) & seen]


# What is the end of a block
def _marked(graph: Any, passed: Sequence[str], told: dict[str, Shape]) -> set[str]:
    """Those of the tensors that are joins, with what follows them, or narrow."""
    nodes = _between(graph)
    made_by = {name: node for node in nodes for name in node.output}
    carried = set(made_by) | {INPUT}
    used_by: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            used_by.setdefault(name, []).append(node)
    found = set()
    for before, tensor in zip([INPUT, *passed], passed, strict=False):
        node = made_by[tensor]
        if _joins(node, carried) or _narrows(node, tensor, used_by, told.get(before, ()), told[tensor]):
            found.add(_followed(tensor, used_by, set(passed)))
    return found


def _joins(node: Any, carried: set[str]) -> bool:
    return node.op_type in JOINS and len(set(node.input) & carried) > 1


def _narrows(node: Any, tensor: str, used_by: dict[str, list[Any]], before: Shape, shape: Shape) -> bool:
    """A convolution to fewer channels, and straight into another one: a linear bottleneck (Sandler et al. 2018)."""
    if node.op_type != "Conv" or len(shape) != 3 or len(before) != 3 or shape[0] >= before[0]:
        return False
    return all(user.op_type in CONVOLUTIONS for user in _users(tensor, used_by))


def _users(tensor: str, used_by: dict[str, list[Any]]) -> Iterator[Any]:
    """What uses a tensor, past its rounding to 8 bits."""
    for node in used_by.get(tensor, []):
        if node.op_type in ROUNDING:
            yield from _users(node.output[0], used_by)
        else:
            yield node


def _followed(tensor: str, used_by: dict[str, list[Any]], passed: set[str]) -> str:
    """The last tensor of the block that begins to end here."""
    users = used_by.get(tensor, [])
    if len(users) == 1 and users[0].op_type in FOLLOWERS and users[0].output[0] in passed:
        return _followed(users[0].output[0], used_by, passed)
    return tensor
