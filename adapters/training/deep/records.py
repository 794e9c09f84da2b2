"""What a deep round has found so far, so that another worker can go on: finished fits, and the state of the one under
way. Safetensors; no pickle.
"""

import json
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from adapters.training.trust.novelty import Apart
from adapters.types import Floats

Option = tuple[int, float]  # epochs of a fit and how far of the way from its start, WiSE-FT's mix; (0, 0) is the start
START: Option = (0, 0.0)
ARRAYS = ("said", "distances")  # of a record
END = -1  # epochs of an option: as many as the fit made


@dataclass(frozen=True, slots=True)
class Record:
    """A finished fit to one fold."""

    said: Floats  # raw outputs of the fold's unseen examples by each option, f32 [O, M, K]
    options: list[Option]
    spreads: list[float]  # of each option's raw outputs for some examples that it was fitted to
    curves: list[dict[str, Any]]  # {"epoch", "train_loss", "held_out_loss"}
    mixes: list[float] = field(default_factory=list)  # of the fit's end, whose tails have told how far the unseen lie;
    scatters: list[float] = field(default_factory=list)  # [X]; none of the start, of a test set or an earlier release
    distances: Floats = field(default_factory=lambda: np.zeros((0, 0), np.float32))  # f32 [X, M]: see `novelty.Apart`

    def apart(self, option: Option) -> Apart | None:
        """Through the tail of an option: of an epoch the one that the fit ended with, which knows no less by heart."""
        if option[1] not in self.mixes:
            return None
        row = self.mixes.index(option[1])
        return Apart(self.distances[row], self.scatters[row])


@dataclass(slots=True)
class Records:
    """By the name of the fit."""

    done: dict[str, Record] = field(default_factory=dict)
    begun: tuple[str, bytes] | None = None  # a fit under way and its state
    basis: str = ""  # digest of what fits stand on: the same name is another fit where it is another
    earlier: float = 0.0  # seconds of attempts before this one, up to their last checkpoints
    since: float = field(default_factory=time.perf_counter)  # when this one began

    @property
    def seconds(self) -> float:
        """Of all attempts."""
        return self.earlier + time.perf_counter() - self.since

    def to_bytes(self) -> bytes:
        """To be kept as a checkpoint."""
        tensors = {
            f"{array}.{name}": torch.from_numpy(getattr(record, array))
            for name, record in self.done.items()
            for array in ARRAYS
        }
        facts: dict[str, Any] = {
            "done": {
                name: {k: v for k, v in asdict(record).items() if k not in ARRAYS} for name, record in self.done.items()
            },
            "basis": self.basis,
            "seconds": self.seconds,
        }
        if self.begun is not None:
            facts["begun"] = self.begun[0]
            tensors["begun"] = torch.frombuffer(bytearray(self.begun[1]), dtype=torch.uint8)
        return save_tensors(tensors, {"deep": json.dumps(facts)})

    @classmethod
    def gone_on(cls, checkpoint: bytes | None, basis: str) -> "Records":
        """Those of a checkpoint where its fits stand on the same, else none; its seconds count either way."""
        if checkpoint is None:
            return cls(basis=basis)
        tensors = load_tensors(checkpoint)
        header = json.loads(checkpoint[8 : 8 + int.from_bytes(checkpoint[:8], "little")])
        facts = json.loads(header["__metadata__"]["deep"])
        found = cls(basis=basis, earlier=facts.get("seconds", 0.0))
        if facts.get("basis") == basis:  # of an earlier release there is none
            found.done = {name: _record(tensors, name, row) for name, row in facts["done"].items()}
            found.begun = (facts["begun"], tensors["begun"].numpy().tobytes()) if "begun" in facts else None
        return found


def _record(tensors: dict[str, torch.Tensor], name: str, facts: dict[str, Any]) -> Record:
    """Of an earlier release one has no distances."""
    options = [(int(epochs), float(mix)) for epochs, mix in facts.pop("options")]
    arrays = {array: tensors[f"{array}.{name}"].numpy() for array in ARRAYS if f"{array}.{name}" in tensors}
    return Record(options=options, **arrays, **facts)
