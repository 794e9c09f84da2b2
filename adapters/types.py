"""The floor: plain facts that every step passes on. Frozen dataclasses and array aliases, nothing that runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from adapters.tenancy import shown

Tensors: TypeAlias = Mapping[str, NDArray[Any]]  # by name: of one input, or of N inputs with a batch dimension N first
Embeddings: TypeAlias = NDArray[np.float32]  # [N, E]: a backbone's `pooled` [N, D], and its taps where it has any
Floats: TypeAlias = NDArray[np.float32]
# What a backbone tells of N inputs: embeddings; of a trunk taps [N, *shape], of any dtype; of a whole N pairs of both.
Rows: TypeAlias = Any
Told: TypeAlias = NDArray[Any] | tuple[NDArray[Any], ...]  # of one input
Indices: TypeAlias = NDArray[np.int64]  # [N], positions or class numbers
Arrays: TypeAlias = Mapping[str, NDArray[Any]]  # by name, N first: see adapters/arrays
Targets: TypeAlias = Arrays  # what a task makes of N labels
Fitted: TypeAlias = NDArray[Any]  # of targets what a method fits: class numbers i64 [N], or f32 [N, K]

DEEP = "deep"  # the method that trains the last part of the backbone with the head
ORIGINAL = "image"  # the modality of all that was stored before there were others: facts that name none are of it

Objective = Literal["softmax", "sigmoid", "squared"]  # what a fit makes small; adapters/training/objectives
SplitName = Literal["train", "val", "test"]
Mode = Literal["append", "replace"]
Deploy = Literal["auto", "manual", "always"]  # always: live where there is a live version, whatever the gate says
Deep = Literal["auto", "never", "only"]  # auto: after the shallow version, where data suffice and it proves better
Device = Literal["auto", "cpu", "cuda", "tensorrt"]  # tensorrt: CUDA, with what TensorRT can compile through it


@dataclass(frozen=True, slots=True)
class Input:
    """One input tensor of a backbone's graph."""

    name: str
    dtype: str  # numpy's name: "uint8", "int64"
    shape: tuple[int | None, ...]  # of one input, without the batch dimension; None where it varies


@dataclass(frozen=True, slots=True)
class Output:
    """One thing that a backbone's graph is asked for."""

    name: str
    dtype: str  # numpy's name
    shape: tuple[int, ...]  # of one input, without the batch dimension


@dataclass(frozen=True, slots=True)
class Probed:
    """What a cheap look at an input's bytes tells."""

    facts: dict[str, Any]  # of a photo {"format", "width", "height"}; ready for JSON
    cost: int  # in the modality's UNIT


@dataclass(frozen=True, slots=True)
class Preview:
    """An input as people are shown it."""

    media_type: str
    data: bytes
    text: str | None = None  # where it can be read


@dataclass(frozen=True, slots=True)
class Backbone:
    """A frozen network as one ONNX graph: tensors of N inputs in, `pooled` [N, D] out; of images, where
    it is not in int8 with taps, also `features`, [N, C, h, w].

    One with taps has `embedding` [N, E] besides: `pooled`, and behind it what earlier blocks saw.
    """

    name: str
    digest: str  # SHA-256 of graph + weights + spec + precision: two equal digests embed alike
    artifact: str  # SHA-256 of the ONNX file
    spec: Any  # how bytes become its tensors: the modality's own frozen dataclass `Spec`
    precision: str
    dimension: int  # D
    channels: int  # C; 0 where there are no features
    details: dict[str, Any] = field(default_factory=dict)  # timm name, source, licence, parity figures, taps
    modality: str = ORIGINAL

    @property
    def taps(self) -> list[dict[str, Any]]:
        """What follows `pooled` in an embedding: {"name", "statistic", "offset", "length"} each, in order."""
        found: list[dict[str, Any]] = self.details.get("taps", [])
        return found

    @property
    def length(self) -> int:
        """E, how many numbers an embedding has: D, and those of the taps."""
        return self.dimension + sum(tap["length"] for tap in self.taps)

    @property
    def output(self) -> str:
        """The output of the graph that is the embedding; of a trunk, what it tells at its cut."""
        return str(self.details.get("output") or ("embedding" if self.taps else "pooled"))

    @property
    def outputs(self) -> tuple[Output, ...]:
        """All that its graph is asked for: one thing, but of a whole backbone that tells a cut besides two."""
        cut = self.details.get("cut")
        tap = () if cut is None else (Output("tap", cut["dtype"], tuple(cut["shape"])),)
        return tap if self.output == "tap" else (Output(self.output, "float32", (self.length,)), *tap)


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a backbone can be cut in two: a tensor of its graph that every path from the input to `pooled` passes.

    The trunk computes it, the tail reads it. The whole of a backbone is a tail, too: the one behind the cut `all`.
    """

    name: str  # of the block that ends there
    tensor: str  # in the graph
    kind: Literal["map", "tokens", "sequence", "input"]
    dtype: str  # numpy's name of what is told there: "float32", "uint8"
    shape: tuple[int, ...]  # of one input, without the batch dimension; of a sequence one of ordinary length
    stride: int | None  # pixels a step of a map
    share: float  # of the backbone's multiply-adds that come after it, 0 to 1
    bytes: int  # of float32 weights after it

    def at(self, length: int | None) -> "Cut":
        """The same with a sequence of that length; of what does not vary in length, itself."""
        if length is None or self.kind != "sequence":
            return self
        return replace(self, shape=(length, *self.shape[1:]))


# What a head computes, as data: the same steps run in torch (training) and become ONNX nodes (export),
# so there is one description to prove parity of.
@dataclass(frozen=True, slots=True)
class Power:
    """x → sign(x)·|x|^exponent: tames the heavy tail of pooled activations (Perronnin et al., ECCV 2010)."""

    exponent: float


@dataclass(frozen=True, slots=True)
class L2Normalize:
    """x → x / max(‖x‖₂, 1e-12) for each row."""


@dataclass(frozen=True, slots=True)
class Affine:
    """x → (x − shift)·scale, elementwise; shift and scale f32 [D]."""

    shift: Floats
    scale: Floats


@dataclass(frozen=True, slots=True)
class Linear:
    """x → x·weight + bias; weight f32 [D, K], bias f32 [K]."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True)
class Relu:
    """x → max(x, 0), elementwise."""


@dataclass(frozen=True, slots=True)
class Scale:
    """x → x·factor: one over the calibration temperature."""

    factor: float


@dataclass(frozen=True, slots=True)
class Softmax:
    """Logits → probabilities that sum to one, f32 [N, K]."""


@dataclass(frozen=True, slots=True)
class Sigmoid:
    """Logits → a probability for each label of its own, f32 [N, K]."""


@dataclass(frozen=True, slots=True)
class Minimum:
    """x [N, K] → the least of each row, [N, 1]."""


@dataclass(frozen=True, slots=True)
class Clip:
    """x → x, but no less than low and no more than high."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Member:
    """A part of an ensemble: steps from columns of its own, f32 [N, width], to f32 [N, K]."""

    steps: "tuple[Step, ...]"
    width: int
    weight: float


@dataclass(frozen=True, slots=True)
class Ensemble:
    """x [N, D + E] → the weighted sum of what each member makes of its columns, which lie in the members' order."""

    members: tuple[Member, ...]

    @property
    def width(self) -> int:
        """How many columns it reads."""
        return sum(member.width for member in self.members)


Step: TypeAlias = Power | L2Normalize | Affine | Linear | Relu | Scale | Softmax | Sigmoid | Minimum | Clip | Ensemble


@dataclass(frozen=True, slots=True)
class HeadProgram:
    """The steps of one head, in order, from embedding [N, D] to the task's output.

    `novelty`, where there are any, are those from the same embedding to how unlike it is to what was taught, [N, 1].
    """

    steps: tuple[Step, ...]
    novelty: tuple[Step, ...] = ()

    def then(self, *steps: Step) -> "HeadProgram":
        return HeadProgram((*self.steps, *steps), self.novelty)


@dataclass(frozen=True, slots=True)
class Schema:
    """How the outputs of a head are read."""

    classes: tuple[str, ...]  # what each output is about: classes, labels, or quantities
    decision: dict[str, Any] = field(default_factory=dict)  # the task's own: thresholds, spreads; ready for JSON


@dataclass(frozen=True, slots=True)
class Example:
    """One labeled input of a head, kept by the SHA-256 of its bytes."""

    sha256: str
    label: str
    file_name: str
    split: SplitName | None = None  # the caller's wish; None leaves it to us
    group: str | None = None  # examples of one group never straddle the split


@dataclass(frozen=True, slots=True)
class Assignment:
    """Where an example was put when a version was trained: held-out examples stay held out for ever.

    `split` is None for a copy of a held-out example that was left out of training.
    """

    sha256: str
    label: str
    split: SplitName | None


@dataclass(frozen=True, slots=True)
class StoredBlob:
    """One blob of the artifact store, as listing tells it."""

    name: str  # its SHA-256, unless somebody else put it there
    size: int  # bytes
    modified: datetime


@dataclass(frozen=True, slots=True)
class Edit:
    """A change of the data that a head has, asked for by its owner: one of these.

    The examples that `relabel` and `remove` count are kept beside the job, so that no trace of them outlives it.
    """

    relabel: int = 0  # examples that get another label
    remove: int = 0  # examples to unlearn
    rename: dict[str, str] = field(default_factory=dict)  # class → what it is called from now on
    merge: dict[str, list[str]] = field(default_factory=dict)  # class → the classes that become it
    drop: list[str] = field(default_factory=list)  # classes that go, with their examples


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What a caller asked of `/finetune`, checked; the examples are stored beside it."""

    head: str
    task: str = "classification"
    method: str = "auto"
    hyperparameters: dict[str, Any] = field(default_factory=dict)
    backbone: str | None = None  # None: the head's own, or the default
    mode: Mode = "append"
    seed: int = 0
    deploy: Deploy = "auto"
    views: str = "auto"  # of each example to train on beside it, where the modality has any: a choice of its, or none
    reads: str = "auto"  # how much of an embedding: its first part, `pooled`, or with what earlier blocks saw, `taps`
    budget: float | None = None  # estimated seconds of one core for the race; None: by the number of examples
    edit: Edit | None = None  # of what the head has; None: examples are added, or replace the old ones
    on_error: Literal["fail", "skip"] = "fail"  # of inputs that cannot be used
    received: dict[str, Any] = field(default_factory=dict)  # how what was sent was understood; ready for JSON
    deep: Deep = "never"  # whether the last part of the backbone may be trained with the head
    keep_examples: bool = True  # False: those that the head has go once the version is live
    of: str | None = None  # the job whose shallow version this one, its next stage, trains deeper on the same data

    @property
    def races(self) -> str:
        """The method, or auto, by which the shallow head is found that a deep one starts from."""
        return "auto" if self.method == DEEP else self.method


@dataclass(frozen=True, slots=True)
class Job:
    """One accepted `/finetune`, edit or rebuild."""

    id: str
    request: JobRequest
    status: str
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    finished_at: datetime | None = None
    progress: dict[str, Any] = field(default_factory=dict)
    version: int | None = None
    metrics: dict[str, Any] | None = None
    report: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    cancel_requested: bool = False
    sequence: int = 0  # jobs are numbered as they are accepted
    retry: dict[str, Any] | None = (
        None  # of one that failed and is tried again: {"failures", "code", "message", "item"}
    )
    request_id: str | None = None  # of the request that it was accepted by


@dataclass(frozen=True, slots=True)
class HeadVersion:
    """One immutable version of a head, with everything serving needs to know of it."""

    head: str
    number: int
    digest: str  # SHA-256 of head.onnx
    status: str  # published | rejected
    manifest: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class HeadRef:
    """Which version of a head is meant: `name` (alias live), `name@3` (a version) or `name@canary` (an alias)."""

    name: str
    version: int | None = None
    alias: str = "live"

    def __str__(self) -> str:
        return f"{shown(self.name)}@{self.version if self.version is not None else self.alias}"


TERMINAL = frozenset({"succeeded", "failed", "rejected", "cancelled"})
