"""All that a fit has to remember, so that it goes on where it was left: safetensors, no pickle."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from adapters.training.deep.fitting.network import Weights
from adapters.types import Floats

Row = dict[str, Any]
FACTS = ("step", "steps", "curves")


@dataclass(slots=True)
class State:
    """Besides the weights themselves."""

    step: int = 0
    first: Weights = field(default_factory=list)  # moments
    second: Weights = field(default_factory=list)
    steps: list[int] = field(default_factory=list)  # that each weight has made
    average: Weights = field(default_factory=list)  # of weights; empty without ema
    said: list[Floats] = field(default_factory=list)  # see `Fit`
    curves: list[Row] = field(default_factory=list)

    def to_bytes(self, weights: Sequence[torch.Tensor]) -> bytes:
        """The state, and the weights beside it."""
        said = [torch.from_numpy(said) for said in self.said]
        named: dict[str, Sequence[torch.Tensor]] = {"weight": weights, "said": said}
        named |= {"first": self.first, "second": self.second, "average": self.average}
        tensors = {
            f"{kind}.{number}": tensor.detach().cpu().contiguous()
            for kind, several in named.items()
            for number, tensor in enumerate(several)
        }
        return save_tensors(tensors, {"fit": json.dumps({name: getattr(self, name) for name in FACTS})})

    @classmethod
    def of(cls, kept: bytes, device: torch.device) -> tuple["State", Weights]:
        """What was kept, and the weights beside it; of an earlier release, too, which kept more facts."""
        tensors = load_tensors(kept)
        header = json.loads(kept[8 : 8 + int.from_bytes(kept[:8], "little")])
        facts = json.loads(header["__metadata__"]["fit"])
        several: dict[str, Any] = {
            kind: [tensor.to(device) for tensor in _numbered(tensors, kind)] for kind in ("first", "second", "average")
        }
        said = [tensor.numpy() for tensor in _numbered(tensors, "said")]
        return cls(said=said, **several, **{name: facts[name] for name in FACTS}), list(_numbered(tensors, "weight"))


def _numbered(tensors: dict[str, torch.Tensor], kind: str) -> Iterator[torch.Tensor]:
    number = 0
    while f"{kind}.{number}" in tensors:
        yield tensors[f"{kind}.{number}"]
        number += 1
