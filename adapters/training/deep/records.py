"""What a deep round has found so far, so that another worker can go on: finished fits, and the state of the one under
way. Safetensors; no pickle.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from adapters.types import Floats

Option = tuple[int, float]  # epochs of a fit and how far of the way from its start, WiSE-FT's mix; (0, 0) is the start
START: Option = (0, 0.0)
END = -1  # epochs of an option: as many as the fit made


@dataclass(frozen=True, slots=True)
class Record:
    """A finished fit to one fold."""

    said: Floats  # raw outputs of the fold's unseen examples by each option, f32 [O, M, K]
    options: list[Option]
    spreads: list[float]  # of each option's raw outputs for some examples that it was fitted to
    curves: list[dict[str, Any]]  # {"epoch", "train_loss", "held_out_loss"}
    seconds: float


@dataclass(slots=True)
class Records:
    """By the name of the fit."""

    done: dict[str, Record] = field(default_factory=dict)
    begun: tuple[str, bytes] | None = None  # a fit under way and its state

    def to_bytes(self) -> bytes:
        """To be kept as a checkpoint."""
        tensors = {f"said.{name}": torch.from_numpy(record.said) for name, record in self.done.items()}
        facts: dict[str, Any] = {
            "done": {
                name: {k: v for k, v in asdict(record).items() if k != "said"} for name, record in self.done.items()
            }
        }
        if self.begun is not None:
            facts["begun"] = self.begun[0]
            tensors["begun"] = torch.frombuffer(bytearray(self.begun[1]), dtype=torch.uint8)
        return save_tensors(tensors, {"deep": json.dumps(facts)})

    @classmethod
    def from_bytes(cls, data: bytes) -> "Records":
        """The inverse."""
        tensors = load_tensors(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        facts = json.loads(header["__metadata__"]["deep"])
        done = {name: _record(tensors[f"said.{name}"], found) for name, found in facts["done"].items()}
        begun = (facts["begun"], tensors["begun"].numpy().tobytes()) if "begun" in facts else None
        return cls(done, begun)


def _record(said: torch.Tensor, facts: dict[str, Any]) -> Record:
    options = [(int(epochs), float(mix)) for epochs, mix in facts.pop("options")]
    return Record(said.numpy(), options, **facts)
