"""What modules a network is made of, by the names of its weights: what is left by an export that names no paths.

torch's newer exporter calls tensors `layer_norm_2` and `val_49`, and weights as the model does:
`inner.encoder.layer.0.output.dense.bias`.
"""

from collections.abc import Iterable, Mapping
from itertools import accumulate
from typing import Any


def modules(graph: Any, tensor: str) -> list[str]:
    """Of the nearest weight on the way to a tensor: [`encoder`, `encoder.layer`, `encoder.layer.0`]; else nothing.

    What all of them begin with says nothing, and is left out.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    stored = paths(each.name for each in graph.initializer)
    nearest, seen = [tensor], {tensor}
    for name in nearest:  # which grows: nearer ones first
        if name in stored:
            return stored[name]
        further = [each for each in (made_by[name].input if name in made_by else ()) if each not in seen]
        nearest += further
        seen |= set(further)
    return []


def blocks(names: Iterable[str]) -> dict[str, str]:
    """Each weight, in a graph's order → the block that it is in: the last module around it that is numbered.

    One without a name of its own, as a transposed matrix has none, is in the block of the next that has one.
    """
    order = list(names)
    known = {name: _block(around) for name, around in paths(order).items()}
    found, last = dict[str, str](), next((known[name] for name in reversed(order) if name in known), "")
    for name in reversed(order):
        found[name] = last = known.get(name, last)
    return dict(reversed(found.items()))


def _block(around: list[str]) -> str:
    return next((each for each in reversed(around) if each.rpartition(".")[2].isdigit()), around[-1])


def paths(names: Iterable[str]) -> Mapping[str, list[str]]:
    """Name of each weight that says its module → the modules around it, the outermost first."""
    parts = {name: name.split(".")[:-1] for name in names if "." in name}
    while len({tuple(each[:1]) for each in parts.values()}) == 1 and all(map(_named, parts.values())):
        parts = {name: each[1:] for name, each in parts.items()}
    return {name: list(accumulate(each, "{}.{}".format)) for name, each in parts.items() if each}


def _named(path: list[str]) -> bool:
    """Whether it still says a name without its first module: a number alone is none."""
    return len(path) > 1 and not path[1].isdigit()
