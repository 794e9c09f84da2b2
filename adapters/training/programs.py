"""Programs: run a HeadProgram in torch, which is the reference that the exported graph must equal; and store one."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from adapters.errors import CorruptArtifact
from adapters.types import (
    Affine,
    Clip,
    Embeddings,
    Ensemble,
    Floats,
    HeadProgram,
    L2Normalize,
    Linear,
    Member,
    Minimum,
    Power,
    Relu,
    Scale,
    Sigmoid,
    Softmax,
    Step,
)

EPSILON = 1e-12  # of L2Normalize; the exported graph has the same
KINDS = {
    kind.__name__: kind for kind in (Power, L2Normalize, Affine, Linear, Relu, Scale, Softmax, Sigmoid, Minimum, Clip)
}
CHUNK = 8192  # rows at a time: bounds memory whatever N is


def device() -> torch.device:
    """The CUDA device when there is one, otherwise the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def run(
    program: HeadProgram,
    embeddings: Embeddings | torch.Tensor,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Floats:
    """Embeddings f32 [N, E] → the program's output f32 [N, K], in torch on `device` (default: where they are).

    A program that reads fewer numbers of each than there are is given the first ones.

    `dtype` is what is computed in: float64 shows how much of a difference is float32's rounding.
    """
    return run_all([program], embeddings, device, dtype)[0]


def novelty(
    program: HeadProgram,
    embeddings: Embeddings | torch.Tensor,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Floats:
    """How novel a program finds embeddings f32 [N, E], f32 [N]."""
    return run(HeadProgram(program.novelty), embeddings, device, dtype)[:, 0]


def reads(program: HeadProgram) -> int | None:
    """How many numbers of an embedding, from the first on, a program's first array is for; None without arrays."""
    for step in program.steps:
        if isinstance(step, Ensemble):
            return step.width
        if isinstance(step, Affine):
            return len(step.shift)
        if isinstance(step, Linear):
            return len(step.weight)
    return None


def run_all(
    programs: Sequence[HeadProgram],
    embeddings: Embeddings | torch.Tensor,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> list[Floats]:
    """`run` for several programs; first steps that they share, as those of one fit do, are run once."""
    x = torch.as_tensor(embeddings)
    where = device or x.device
    found: list[list[torch.Tensor]] = [[] for _ in programs]
    with torch.no_grad():
        for part in x.split(CHUNK):
            known: dict[int | None, dict[tuple[int, ...], torch.Tensor]] = {}  # by what is read
            for program, outputs in zip(programs, found, strict=True):
                length = reads(program)
                begun = known.setdefault(length, {(): part[:, :length].to(where, dtype)})
                outputs.append(_through(program.steps, begun, where, dtype).float().cpu())
    return [torch.cat(outputs).numpy() for outputs in found]


def to_bytes(program: HeadProgram) -> bytes:
    """A program as safetensors, its structure as JSON in the metadata; no pickle anywhere."""
    tensors: dict[str, torch.Tensor] = {}
    structure = {
        "steps": _structure(program.steps, "", tensors),
        "novelty": _structure(program.novelty, "novelty.", tensors),
    }
    # One key: safetensors writes several in an order that changes from run to run.
    return save_tensors(tensors, {"program": json.dumps(structure)})


def _structure(steps: tuple[Step, ...], prefix: str, tensors: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
    """Steps without their arrays, which go to `tensors`."""
    structure: list[dict[str, Any]] = []
    for position, step in enumerate(steps):
        if isinstance(step, Ensemble):
            structure.append({"step": Ensemble.__name__, "members": _members(step, f"{prefix}{position}.", tensors)})
            continue
        fields = {name: getattr(step, name) for name in step.__dataclass_fields__}
        arrays = {name: value for name, value in fields.items() if isinstance(value, np.ndarray)}
        tensors |= {f"{prefix}{position}.{name}": _tensor(value) for name, value in arrays.items()}
        structure.append({"step": type(step).__name__, **{k: v for k, v in fields.items() if k not in arrays}})
    return structure


def _members(ensemble: Ensemble, prefix: str, tensors: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
    return [
        {"width": member.width, "weight": member.weight, "steps": _structure(member.steps, f"{prefix}{n}.", tensors)}
        for n, member in enumerate(ensemble.members)
    ]


def from_bytes(data: bytes) -> HeadProgram:
    """The inverse of `to_bytes`. Raises CorruptArtifact when the bytes are no program."""
    try:
        tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        structure = json.loads(header["__metadata__"]["program"])
        return HeadProgram(
            _steps("", structure["steps"], tensors),
            _steps("novelty.", structure["novelty"], tensors),
        )
    except Exception as error:  # safetensors, json and our own look-ups each raise their own
        raise CorruptArtifact(f"these bytes are not a stored head program ({error})") from error


def _through(
    steps: tuple[Step, ...], known: dict[tuple[int, ...], torch.Tensor], where: torch.device, dtype: torch.dtype
) -> torch.Tensor:
    """The outcome of steps; `known` are those of the same step objects before, kept but for the last step's."""
    x, path = known[()], tuple(id(step) for step in steps)
    for count, step in enumerate(steps, start=1):
        if path[:count] in known:
            x = known[path[:count]]
            continue
        x = _one(step, x, where, dtype)
        if count < len(steps):
            known[path[:count]] = x
    return x


def _one(step: Step, x: torch.Tensor, where: torch.device, dtype: torch.dtype) -> torch.Tensor:
    if isinstance(step, Ensemble):
        parts = x.split([member.width for member in step.members], dim=1)
        said = (_through(m.steps, {(): part}, where, dtype) for m, part in zip(step.members, parts, strict=True))
        return torch.stack([m.weight * each for m, each in zip(step.members, said, strict=True)]).sum(dim=0)
    kind, values = _on(step, where, dtype)
    return torch.as_tensor(_REFERENCE[kind](x, *values))


_REFERENCE: dict[str, Any] = {
    "Power": lambda x, exponent: x.abs().pow_(exponent).copysign_(x),  # in place: new memory costs more than the sum
    "L2Normalize": lambda x: x / x.norm(dim=1, keepdim=True).clamp_min(EPSILON),
    "Affine": lambda x, shift, scale: (x - shift) * scale,
    "Linear": lambda x, weight, bias: x @ weight + bias,
    "Relu": lambda x: x.relu(),
    "Scale": lambda x, factor: x * factor,
    "Softmax": lambda x: x.softmax(dim=1),
    "Sigmoid": lambda x: x.sigmoid(),
    "Minimum": lambda x: x.min(dim=1, keepdim=True).values,
    "Clip": lambda x, low, high: x.clamp(low, high),
}


def _on(step: Step, where: torch.device, dtype: torch.dtype) -> tuple[str, list[Any]]:
    values = [getattr(step, name) for name in step.__dataclass_fields__]
    return type(step).__name__, [_tensor(v).to(where, dtype) if isinstance(v, np.ndarray) else v for v in values]


def _tensor(array: Floats) -> torch.Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))  # a copy: stored arrays may be read-only


def _steps(prefix: str, entries: list[dict[str, Any]], tensors: dict[str, torch.Tensor]) -> tuple[Step, ...]:
    return tuple(_step(f"{prefix}{position}.", entry, tensors) for position, entry in enumerate(entries))


def _step(prefix: str, entry: dict[str, Any], tensors: dict[str, torch.Tensor]) -> Step:
    name = entry.pop("step")
    if name == Ensemble.__name__:
        members = enumerate(entry["members"])
        return Ensemble(
            tuple(Member(_steps(f"{prefix}{n}.", m["steps"], tensors), m["width"], m["weight"]) for n, m in members)
        )
    arrays = {k.removeprefix(prefix): v.numpy() for k, v in tensors.items() if k.startswith(prefix)}
    made: Step = KINDS[name](**entry, **arrays)
    return made
