"""The ends of a backbone's blocks: tensors of the exported graph that every path from pixels to `pooled` passes.

Found in the graph and not in the model, so that it works for whatever timm exports and for graphs that exist already:
a residual block ends where two paths join, an inverted residual one without a join at its narrow convolution, and where
a network has neither (VGG), the last map of a size is taken. What a graph reads first is what is seen; a second input
is a mask, which says what of it counts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

Layout = Literal["channels first", "channels last", "tokens"]
Shape = tuple[int, ...]

INPUT, POOLED, FEATURES = "pixels", "pooled", "features"
JOINS = ("Add", "Concat")
CONVOLUTIONS = ("Conv", "Pad")  # what a narrow map goes into; anything else would be its activation
# Operators of one input that follow a join and belong to its block, or keep a value in 8 bits.
FOLLOWERS = ("Relu", "Clip", "LeakyRelu", "Elu", "QuantizeLinear", "DequantizeLinear")
ROUNDING = ("QuantizeLinear", "DequantizeLinear")


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


def end(tensor: str, shape: Shape) -> End | None:
    """None for a tensor that is neither a map nor tokens."""
    found = layout(shape)
    return None if found is None else End(_block(tensor), tensor, found, shape)


def layout(shape: Shape) -> Layout | None:
    """How the numbers of one image lie; None for what is neither a map nor tokens."""
    if len(shape) == 2 and shape[0] > 1:
        return "tokens"
    if len(shape) != 3:
        return None
    return "channels last" if shape[0] == shape[1] != shape[2] else "channels first"


def chosen(ends: list[End], marked: set[str]) -> list[End]:
    """Marked tokens where no map is marked: a transformer. Else maps: marked ones, and of sizes without any all.

    The windows of Swin are tokens between its maps.
    """
    maps = [end for end in ends if end.layout != "tokens"]
    sizes = {end.size for end in maps if end.tensor in marked}
    tokens = [end for end in ends if end.layout == "tokens" and end.tensor in marked]
    if tokens and not sizes:
        return tokens
    return [end for end in maps if end.tensor in marked or end.size not in sizes]


def _block(tensor: str) -> str:
    """`/blocks/blocks.4/blocks.4.2/Add_output_0` → `blocks.4.2`, `/s2/b1/act3/Relu_output_0` → `s2.b1`."""
    parts = tensor.strip("/").split("/")[:-1] or [tensor]
    numbered = [part for part in parts if "." in part and not part.endswith(".")]
    if numbered:
        return numbered[-1]
    inner = [part for part in parts if not part.startswith(("act", "relu", "drop"))]
    return ".".join(inner or parts)


# What a graph reads
def source(graph: Any) -> str:
    """The input that is seen: pixels, or the numbers of a sequence's pieces."""
    return str(graph.input[0].name)


def mask(graph: Any) -> str | None:
    """The input that says where a sequence's pieces are; None of what has no length."""
    return str(graph.input[1].name) if len(graph.input) > 1 else None


# What every path passes
def passed(graph: Any) -> list[str]:
    """Names of the tensors that every path from what is seen to `pooled` passes, in order; padded ones are none."""
    nodes = between(graph)
    last_use = {name: position for position, node in enumerate(nodes) for name in node.input}
    waiting: set[str] = set()
    found = []
    for position, node in enumerate(nodes):
        waiting = {name for name in waiting if last_use.get(name, -1) > position}
        waiting |= {name for name in node.output if last_use.get(name, -1) > position}
        if len(waiting) == 1 and node.output[0] in waiting and node.op_type != "Pad":
            found.append(node.output[0])
    return [*found, POOLED]


def between(graph: Any) -> list[Any]:
    """The nodes that carry what is seen to `pooled`; what reads only a shape, or the mask, carries nothing."""
    seen = {source(graph)}
    for node in graph.node:
        if node.op_type != "Shape" and seen & set(node.input):
            seen |= set(node.output)
    wanted = {POOLED}
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input) & seen
    return [node for node in graph.node if wanted & set(node.output) & seen]


# What is the end of a block
def marked(graph: Any, passed: Sequence[str], told: dict[str, Shape]) -> set[str]:
    """Those of the tensors that are joins, with what follows them, or narrow."""
    nodes = between(graph)
    made_by, used_by = _makers(nodes), _readers(nodes)
    carried = set(made_by) | {source(graph)}
    found = set()
    for before, tensor in zip([source(graph), *passed], passed, strict=False):
        node = made_by[tensor]
        if _joins(node, carried) or _narrows(node, tensor, used_by, told.get(before, ()), told[tensor]):
            found.add(_followed(tensor, used_by, set(passed)))
    return found


def is_added(graph: Any, tensor: str) -> bool:
    """Whether a tensor is added to what is made of it: a block further on goes around another one."""
    nodes = between(graph)
    carried = set(_makers(nodes)) | {source(graph)}
    return any(node.op_type == "Add" and _joins(node, carried) for node in _users(tensor, _readers(nodes)))


def _makers(nodes: Sequence[Any]) -> dict[str, Any]:
    return {name: node for node in nodes for name in node.output}


def _readers(nodes: Sequence[Any]) -> dict[str, list[Any]]:
    used_by: dict[str, list[Any]] = {}
    for node in nodes:
        for name in node.input:
            used_by.setdefault(name, []).append(node)
    return used_by


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
