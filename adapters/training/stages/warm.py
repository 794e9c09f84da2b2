"""Where a deep fit begins that adds to a head without its examples: at the live version's own tail and head.

What it was taught is nowhere but in its weights. They are held near where they are (L2-SP, Li et al. 2018), and
held-out examples of what came now, some of every earlier class among them, say how far to go (WiSE-FT, Wortsman et al.
2022). The output of a class that is new is fitted first, with all others as they are.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from adapters.backbones import cuts
from adapters.store import heads
from adapters.training import programs
from adapters.training.context import TrainingContext
from adapters.training.data import held_back
from adapters.training.deep import interpreter
from adapters.training.deep.starts import Begin
from adapters.training.progress import Progress
from adapters.training.publish import deep_export
from adapters.training.stages.material import Material
from adapters.types import Fitted, Floats, HeadProgram, HeadVersion, Indices, Linear

STAY = 1.0  # of L2-SP where the caller names none; not measured: `mix` says how far to go whatever it is
AT_A_TIME = 64  # examples: of the embedded backbone up to 6 MB of taps
LEAST = 1e-12
PENALTY, STEPS = 1e-3, 100  # of fitting the outputs of new classes: convex, and as small as a head


def begin(context: TrainingContext, material: Material, version: HeadVersion, progress: Progress) -> Begin:
    """Where the fits of a job begin that goes on from a version. Raises HeadDamaged, CorruptArtifact, Cancelled."""
    deep = version.manifest["deep"]
    program = programs.from_bytes(context.artifacts.get(deep["program"]))
    raw = HeadProgram(program.steps[: -deep["finish"]])
    width = programs.reads(program) or material.backbone.dimension
    tail = deep_export.tail_of(heads.stored(context.artifacts, version), width)
    pooled, truth = _pooled(context, version, tail, material, progress), material.task.fitted(material.targets)
    before, labels = tuple(version.manifest["classes"]), [example.label for example in material.data.examples]
    known = held_back.positions(material.task, labels, before)
    return Begin(tail, Grown(raw, before, material.classes, pooled, truth), tuple(known.values()))


def hyperparameters(version: HeadVersion, asked: dict[str, Any]) -> dict[str, Any]:
    """Of a fit that goes on from a version."""
    return {"stay": STAY} | asked | {"unfreeze": version.manifest["deep"]["cut"]["name"]}


@dataclass(frozen=True, slots=True, eq=False)
class Grown:
    """An earlier version's head with an output for each class that there is now."""

    head: HeadProgram  # pooled f32 [N, D] → raw outputs of the earlier classes; ends in a linear step
    before: tuple[str, ...]
    classes: tuple[str, ...]
    pooled: Floats  # [N, D], examples as the earlier version's tail tells them
    truth: Fitted  # class numbers i64 [N], or f32 [N, K]

    def on(self, index: Indices) -> HeadProgram:
        """Outputs of new classes are fitted to these examples alone, with the others as they are."""
        *first, last = self.head.steps
        assert isinstance(last, Linear)  # ends every head
        weight, bias = np.zeros((len(last.weight), len(self.classes)), np.float32), np.zeros(len(self.classes))
        old = [place for place, name in enumerate(self.classes) if name in self.before]
        known = [self.before.index(self.classes[place]) for place in old]
        weight[:, old], bias[old] = last.weight[:, known], last.bias[known]
        new = [place for place, name in enumerate(self.classes) if name not in self.before]
        if new:
            pooled = self.pooled[index]
            features = programs.run(HeadProgram(tuple(first)), pooled) if first else pooled
            weight, bias = _fitted(features, self.truth[index], weight, bias, new)
        return replace(self.head, steps=(*first, Linear(weight.astype(np.float32), bias.astype(np.float32))))


def _fitted(
    features: Floats, truth: Fitted, weight: NDArray[Any], bias: NDArray[Any], new: list[int]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Columns of `weight` [D', K] and `bias` [K] by regularised maximum likelihood, the others held."""
    x, held = torch.from_numpy(features).double(), torch.from_numpy(weight).double()
    scale = float(x.std(dim=0).mean().clamp_min(LEAST))  # so that the penalty means the same whatever is read
    columns = torch.zeros(len(held), len(new), dtype=torch.float64, requires_grad=True)
    offsets = torch.zeros(len(new), dtype=torch.float64, requires_grad=True)
    targets, base = torch.from_numpy(truth), x @ held + torch.from_numpy(bias).double()
    optimizer = torch.optim.LBFGS([columns, offsets], max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        raw = base.index_copy(1, torch.tensor(new), x @ columns / scale + offsets)
        if targets.ndim == 1:
            found = functional.cross_entropy(raw, targets)
        else:
            found = functional.binary_cross_entropy_with_logits(raw, targets.double())
        found = found + PENALTY * columns.square().sum() / 2
        found.backward()
        return found

    optimizer.step(loss)
    weight, bias = weight.copy(), bias.copy()
    weight[:, new], bias[new] = (columns / scale).detach().numpy(), offsets.detach().numpy()
    return weight, bias


def _pooled(
    context: TrainingContext, version: HeadVersion, tail: bytes, material: Material, progress: Progress
) -> Floats:
    """What the version's tail makes of every example, f32 [N, D]."""
    wanted = cuts.part(version.manifest["backbone"]["digest"], version.manifest["deep"], "trunk")
    examples, found = material.data.examples, []
    for start in range(0, len(examples), AT_A_TIME):
        progress.cancelled()
        found.append(interpreter.run(tail, context.trunks.taps(wanted, examples[start : start + AT_A_TIME])))
    return np.concatenate(found)
