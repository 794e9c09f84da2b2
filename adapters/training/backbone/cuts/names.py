"""What the blocks of a network are called: by the modules of the model, as timm names them."""

import re
from typing import Any

from adapters.training.backbone import blocks, weights

PLAIN = ("act", "relu", "drop")  # modules that belong to the block around them


def block(graph: Any, tensor: str) -> str:
    """The module that ends at a tensor: `blocks.4.2`, `stages.2.blocks.5`, `layer3.1`, `Mixed_6a`."""
    parts = _modules(graph, tensor)
    numbered = [position for position, part in enumerate(parts) if _is_numbered(part)]
    if numbered:
        return _joined(parts[: numbered[-1] + 1])
    return _joined([part for part in parts if not part.startswith(PLAIN)] or parts)


def completed(graph: Any, name: str, tensor: str) -> str:
    """A block that is the last one of its stage stands for the stage: `blocks.4.2` → `blocks.4`."""
    nodes = blocks.between(graph)
    position = next(at for at, node in enumerate(nodes) if tensor in node.output)
    later = {_joined(_modules(graph, node.output[0], node)) for node in nodes[position + 1 :]}
    steps = name.split(".")
    for length in range(1, len(steps)):
        stage = ".".join(steps[:length])
        if stage[-1].isdigit() and not any(other == stage or other.startswith(f"{stage}.") for other in later):
            return stage
    return name


def _modules(graph: Any, tensor: str, node: Any = None) -> list[str]:
    """`/blocks/blocks.4/blocks.4.2/Add_output_0` → [`blocks`, `blocks.4`, `blocks.4.2`].

    An output of the graph has lost the name of its module; the node that makes it has not. Where nodes have no such
    names weights do.
    """
    if "/" not in tensor:
        made_by = node or next((each for each in graph.node if tensor in each.output), None)
        if made_by is None or "/" not in made_by.name:
            return weights.modules(graph, tensor) or [tensor]
        tensor = made_by.name
    return tensor.strip("/").split("/")[:-1] or [tensor]


def _joined(parts: list[str]) -> str:
    """A child of a sequence says its parent's name, others do not: [`s`, `s.2`, `blocks`] → `s.2.blocks`."""
    path: list[str] = []
    for part in parts:
        if path and part.startswith(f"{path[-1]}."):
            path[-1] = part
        else:
            path.append(part)
    return ".".join(path)


def _is_numbered(part: str) -> bool:
    return re.search(r"\.\d+$", part) is not None
