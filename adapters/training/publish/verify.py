"""Parity: nothing exported is trusted until the graph that is served answers as torch did.

Others ship heads whose exported form answers differently (SetFit #418, fastai #3503). Here the same session options
that serving uses run the graph at every batch size that serving uses, on real embeddings and on extreme ones.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from adapters.arrays import joined, take
from adapters.errors import ParityError
from adapters.runtime.heads.head import Head, HeadAnswers
from adapters.runtime.heads.pairs import Pairs
from adapters.spans import traced
from adapters.tasks import Task
from adapters.training import programs
from adapters.training.trust.novelty import steepness
from adapters.types import Arrays, Embeddings, Floats, HeadProgram, Rows, Schema

TOLERANCE = 1e-4  # of a probability, or of the spread of a value
FEW = 64  # rows that go through in small batches
DEEP_BATCH = 32  # rows of a deep version at once: what follows from the size is seen by then
LARGEST_BATCH = 1024  # as many inputs as one /predict takes by default
LARGE = 1e4  # times real embeddings: activations far outside of what was trained on
LARGE_TAP = 10.0  # times real taps: their network is not made for what no input can give
EXTREMES = 3  # rows of them
ROUNDING = 1e-5  # of a value: what sums of large numbers that nearly cancel leave of float32's seven digits
TIE = 1e-6  # of a probability: decisions this close are equally good


@traced("parity")
def verify(
    onnx_bytes: bytes, program: HeadProgram, embeddings: Embeddings, batch_max: int, task: Task, schema: Schema
) -> dict[str, Any]:
    """Compare the served graph with torch on embeddings f32 [N, D], N ≥ 1, and on zeros and large values.

    Returns {"max_difference", "tolerance", "decisions", "batches"}, ready for JSON. Raises ParityError where a
    probability (or the novelty, or a value in units of its spread) differs by more than 1e-4, a decision differs, or
    an answer is not finite.
    """
    probes = _probes(embeddings, batch_max)
    return _verified(onnx_bytes, program, probes, probes, probes, batch_max, _Judge(task, schema))


@traced("parity")
def verify_deep(
    onnx_bytes: bytes,
    program: HeadProgram,
    taps: Rows,
    reference: Callable[[Rows, torch.dtype], Floats],
    task: Task,
    schema: Schema,
    masked: bool = False,
) -> dict[str, Any]:
    """The same of a deep version on real taps [N, *shape], N ≥ 1, and on zeros and large ones, or on `Pairs`;
    `reference` is its tail in torch: taps and what to compute in → what the program reads, `pooled` f32 [N, D] first.
    `masked`: the last number of each piece is a mask.

    Two networks of a dozen layers agree to less than two heads do: decisions count as the same within the tolerance.
    """
    probes = _probes_of(taps[:FEW], masked)
    read, exactly = reference(probes, torch.float32), reference(probes, torch.float64)
    return _verified(onnx_bytes, program, probes, read, exactly, DEEP_BATCH, _Judge(task, schema, TOLERANCE))


@traced("parity")
def verify_rounded(onnx_bytes: bytes, taps: Rows, task: Task, schema: Schema) -> None:
    """Of a deep version that torch has no equal of: that it answers the same at every batch size as one by one, and
    with finite numbers whatever it reads. Raises ParityError.
    """
    head, probes = Head.from_bytes(onnx_bytes), _probes_of(taps[:FEW])
    alone = joined([head.answer(probes[i : i + 1]).arrays for i in range(len(probes))])
    if not all(np.isfinite(array).all() for array in alone.values()):
        raise ParityError("the rounded graph does not answer with finite numbers")
    real = np.arange(len(probes) - EXTREMES)
    wanted = {name: alone[name][real] for name in task.units(schema)}
    slack = {name: np.zeros(len(real), np.float32) for name in wanted}
    for size in (2, DEEP_BATCH):
        _compare(head, probes[real], wanted, slack, None, size, _Judge(task, schema, TOLERANCE))


def _verified(
    onnx_bytes: bytes, program: HeadProgram, probes: Rows, read: Embeddings, exactly: Embeddings,
    batch_max: int, judged: "_Judge",
) -> dict[str, Any]:  # fmt: skip
    """Of a graph that is given `probes`; torch's program reads `read` of them, `exactly` in double precision."""
    head, task, batches = Head.from_bytes(onnx_bytes), judged.task, sorted({1, 2, batch_max})
    wanted = task.answers(programs.run(program, read))
    slack = _slack(wanted, task.answers(programs.run(program, exactly[-EXTREMES:], dtype=torch.float64)))
    novelty = _Novelty.of(program, read, exactly) if program.novelty else None
    worst = max(_compare(head, probes, wanted, slack, novelty, size, judged) for size in batches)
    return {"max_difference": worst, "tolerance": TOLERANCE, "decisions": len(probes), "batches": batches}


def _probes(embeddings: Embeddings, batch_max: int) -> Embeddings:
    """At most a batch of real rows, then a row of zeros and two of large values; f32 [≤ batch_max + 3, D]."""
    real = embeddings[:: max(1, len(embeddings) // max(batch_max, 1))][:batch_max].astype(np.float32)
    extreme = np.stack([np.zeros_like(real[0]), real[0] * LARGE, -real[-1] * LARGE])
    return np.concatenate([real, extreme])


def _probes_of(read: Rows, masked: bool = False) -> Rows:
    """What a deep head reads, and what it shall bear: an embedding is as large as real ones are, beside any tap."""
    if isinstance(read, Pairs):
        beside = read.embeddings[[*range(len(read)), *[-1] * EXTREMES]]
        return Pairs(_probes_of(read.taps, masked), beside)
    return _probes_of_sequences(read) if masked else _probes_of_taps(read)


def _probes_of_taps(taps: NDArray[Any]) -> NDArray[Any]:
    """Real rows, zeros, and two of the largest values that there are, or of ten times what is real."""
    if np.issubdtype(taps.dtype, np.integer):
        extreme = [np.zeros_like(taps[0]), np.full_like(taps[0], np.iinfo(taps.dtype).max), ~taps[-1]]
    else:
        extreme = [np.zeros_like(taps[0]), taps[0] * LARGE_TAP, -taps[-1] * LARGE_TAP]
    return np.concatenate([taps, np.stack(extreme).astype(taps.dtype)])


def _probes_of_sequences(taps: NDArray[Any]) -> NDArray[Any]:
    """The same, but that what says where pieces are stays as it is: no input has none, or a tenth of one."""
    shown = taps[[*range(len(taps)), 0, 0, -1], :, -1:]
    return np.concatenate([_probes_of_taps(taps[..., :-1]), shown], axis=-1)


@dataclass(frozen=True, slots=True)
class _Novelty:
    """What torch says of the novelty of probes, and how far float32 itself is off there."""

    wanted: Floats  # [N]
    slack: float

    @classmethod
    def of(cls, program: HeadProgram, probes: Embeddings, exactly: Embeddings) -> "_Novelty":
        """A distance is what is left of sums of thousands of products that nearly cancel, and novelty may rise fifty
        times as fast (`novelty.STEEPEST`): two sound sums differ by what each is off by, in directions of their own.

        What torch is off by may be little by luck. Sums of R numbers that add up to one are off by about the root of R
        roundings, in whichever order they are made.
        """
        wanted = programs.novelty(program, probes)
        off = np.abs(wanted - programs.novelty(program, exactly, dtype=torch.float64)).max()
        usual = steepness(program.novelty) * float(np.finfo(np.float32).eps) * math.sqrt(probes.shape[1])
        return cls(wanted, max(2 * float(off), usual))


def _slack(wanted: Arrays, exact: Arrays) -> Arrays:
    """How far float32 itself is off at the extreme rows, f32 [N] of each array; `exact` is what is right there.

    Zero at real ones, where nothing is forgiven. Logits of a million are known to a tenth: two right answers may differ
    there, and only there.
    """
    slack = {name: np.zeros(len(array), np.float32) for name, array in wanted.items()}
    for name, right in exact.items():
        # Ten times what it is off by, and, as that may be little by luck, a few of the last digits of a large value.
        off, size = np.abs(right - wanted[name][-EXTREMES:]), np.abs(wanted[name][-EXTREMES:])
        slack[name][-EXTREMES:] = (10 * off + ROUNDING * size).reshape(EXTREMES, -1).max(axis=1)
    return slack


def _compare(
    head: Head,
    probes: Rows,
    wanted: Arrays,
    slack: Arrays,
    novelty: _Novelty | None,
    size: int,
    judged: "_Judge",
) -> float:
    """The largest difference when the probes go through in batches of `size`, the last one filled up by repetition."""
    # The extreme rows are the last ones; a thousand single runs would prove no more than sixty and take 0.1 s.
    few = np.arange(len(probes))[-min(len(probes), max(size, FEW)) :]
    rows = np.resize(few, -(-len(few) // size) * size)
    answers = [head.answer(probes[part]) for part in rows.reshape(-1, size)]
    answered, expected = joined([a.arrays for a in answers]), take(wanted, rows)
    if not all(_alike(answered.get(name), array) for name, array in expected.items()):
        raise ParityError(f"at batch {size} the exported graph does not answer with finite numbers of the right shape")
    worst = judged.difference(answered, expected, take(slack, rows), size)
    if novelty is None:
        return worst
    return max(worst, _novelty_difference(answers, novelty.wanted[rows], novelty.slack, size))


def _alike(answered: Floats | None, wanted: Floats) -> bool:
    return answered is not None and answered.shape == wanted.shape and bool(np.isfinite(answered).all())


def _novelty_difference(answers: Sequence[HeadAnswers], wanted: Floats, slack: float, size: int) -> float:
    """The same for novelty, f32 [N]. No row is extreme to it: it normalises its input."""
    told = [a.novelty for a in answers if a.novelty is not None]
    answered = np.concatenate(told) if told else np.zeros(0, np.float32)
    if answered.shape != wanted.shape or not np.isfinite(answered).all():
        raise ParityError(f"at batch {size} the exported graph has no finite novelty for each row")
    worst = max(0.0, float(np.abs(answered - wanted).max()) - slack)
    if worst > TOLERANCE:
        raise ParityError(f"at batch {size} novelty differs from torch by {worst:.2g} (at most {TOLERANCE})")
    return worst


@dataclass(frozen=True, slots=True)
class _Judge:
    """What counts as the same answer."""

    task: Task
    schema: Schema
    tie: float = TIE

    def difference(self, answered: Arrays, wanted: Arrays, slack: Arrays, size: int) -> float:
        """The largest, in units of the answers. Raises ParityError."""
        worst = max(self._of_one(name, answered[name], wanted[name], slack[name]) for name in wanted)
        if worst > TOLERANCE:
            raise ParityError(
                f"at batch {size} the exported graph differs from torch by {worst:.2g} (at most {TOLERANCE})"
            )
        if (self.task.regret(wanted, answered, self.schema) > self.tie + np.max([*slack.values()], axis=0)).any():
            raise ParityError(f"at batch {size} the exported graph decides differently from torch")
        return max(worst, 0.0)

    def _of_one(self, name: str, answered: Floats, wanted: Floats, slack: Floats) -> float:
        """Of one array, beyond its slack f32 [N]."""
        forgiven = slack.reshape(-1, *[1] * (wanted.ndim - 1))
        return float(((np.abs(answered - wanted) - forgiven) / self.task.units(self.schema)[name]).max())
