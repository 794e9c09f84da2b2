"""THE PREDICT PIPELINE.

bytes → decode (modality) → micro-batch → backbone (ONNX) → head (ONNX) → decode (task) → response

One pass through a backbone serves every head of a request that lives on it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np

from adapters import arrays, modalities, tasks
from adapters.errors import EspalierError, WrongModality
from adapters.monitoring import arms
from adapters.monitoring.monitor import Monitor
from adapters.monitoring.sampler import Sampler
from adapters.rollout import turns
from adapters.runtime.backbone import Backbones
from adapters.runtime.batcher import Batcher
from adapters.runtime.embedding_memory import EmbeddingMemory
from adapters.runtime.failures import Failed, HeadError, or_reason, told, working
from adapters.runtime.heads.head import NOVELTY, HeadAnswers
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.heads.loaded import LiveHead
from adapters.runtime.queueing.inflight import Item
from adapters.runtime.queueing.lanes import clock
from adapters.runtime.queueing.traffic import Traffic
from adapters.spans import traced
from adapters.tenancy import qualified, shown
from adapters.trust import Terms
from adapters.types import ORIGINAL, Embeddings, HeadRef, Schema

# Outputs below which heads run on the event loop: 20 µs a run, where a trip to a lane and back takes 350 (measured).
INLINE = 512

NOTHING = Terms()

OnError = Literal["fail", "skip"]


@dataclass(slots=True)
class Predictor:
    """What predictions need, loaded once a process."""

    live: LiveHeads
    backbones: Backbones
    traffic: Traffic
    most: Mapping[str, int] = field(default_factory=dict)  # UNITs of one input by modality; else the modality's MOST
    memory: EmbeddingMemory = field(default_factory=lambda: EmbeddingMemory(0))
    batchers: dict[str, Batcher] = field(default_factory=dict)  # by backbone digest
    monitor: Monitor | None = None  # who counts what was answered, for roll-outs
    sampler: Sampler | None = None  # who keeps hard inputs of heads whose owners want that

    def batcher(self, digest: str) -> Batcher:
        """The batcher of a backbone, which is loaded when first asked for."""
        if digest not in self.batchers:
            loaded = self.backbones.get(digest)
            self.batchers.setdefault(digest, Batcher(loaded, self.traffic.meters))
        return self.batchers[digest]

    def close(self) -> None:
        """Let running work end, drop what waits, and leave no thread behind."""
        self.traffic.close()
        for batcher in self.batchers.values():
            batcher.close()
        self.live.stop()
        if self.monitor is not None:
            self.monitor.close()
        if self.sampler is not None:
            self.sampler.close()


@dataclass(frozen=True, slots=True)
class ItemError:
    """One input that could not be used."""

    index: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True)
class Prediction:
    """What one head says of one input."""

    index: int
    head: LiveHead
    answer: dict[str, Any]  # the task's: {"label", "score", "top"}; and novelty


@dataclass(frozen=True, slots=True)
class Predictions:
    """Predictions by input, then by head in the order asked for."""

    predictions: list[Prediction]
    errors: list[ItemError]
    generation: int
    head_errors: list[HeadError] = field(default_factory=list)


async def predict(
    predictor: Predictor,
    inputs: Sequence[bytes | memoryview],
    refs: Sequence[HeadRef],
    *,
    top_k: int = 5,
    on_error: OnError = "fail",
    min_generation: int = 0,
    coverage: float | None = None,
    abstain: float | None = None,
    timeout: float | None = None,
    sticky: str | None = None,
    modality: str | None = None,
) -> Predictions:
    """Answer for every input and head, within `timeout` seconds.

    With a `coverage` answers carry a set of labels that holds the truth that often; with `abstain` they say whether to
    leave them be, so that the accuracy of the others is that or better. A head that is damaged, or whose backbone is,
    fails its own answers only; the error is raised where no other is asked. Of a head that is being rolled out, the
    same version answers requests with the same `sticky`, and without one those with the same inputs.
    `modality`: what the caller said that the inputs are; all heads of a request read one.
    Raises HeadNotFound, VersionNotFound, StaleReplica, Overloaded, DeadlineExceeded, NotEnoughHeldOut when a version
    cannot promise that; WrongModality; and what is wrong with an input, naming it, unless `on_error` is "skip".
    """
    flow = refs[0].name  # heads take turns
    async with predictor.traffic.admitted(load(predictor, inputs, refs, modality), flow, timeout):
        generation, found = await _admit(predictor, refs, min_generation)
        found = await arms.directed(
            predictor.live, refs, found, lambda: turns.key(sticky, inputs), lambda head: head.terms(coverage, abstain)
        )
        heads, failed = working(refs, found)
        refuse_others(heads, modality)
        terms = [head.terms(coverage, abstain) for head in heads]
        digests = list(dict.fromkeys(head.backbone_digest for head in heads))
        embedded = {d: await or_reason(embed(predictor, inputs, d, on_error, flow)) for d in digests}
        outputs = await _answer(predictor, heads, embedded)
        asked, heads = heads, arms.stand_ins(heads, outputs)
        if heads is not asked:  # candidates of roll-outs failed, and live answers in their place
            terms = [head.terms(coverage, abstain) for head in heads]
            for digest in {head.backbone_digest for head in heads} - embedded.keys():
                embedded[digest] = await or_reason(embed(predictor, inputs, digest, on_error, flow))
            outputs = await _answer(predictor, heads, embedded)
        answered = _decode(heads, terms, embedded, outputs, top_k, generation, failed)
        if predictor.monitor is not None:
            predictor.monitor.saw(heads, outputs, answered.predictions, partial(_rows, embedded))
        if predictor.sampler is not None and predictor.sampler.heads:
            predictor.sampler.saw(heads, outputs, answered.predictions, partial(_pooled, embedded), inputs)
        return answered


def _rows(embedded: dict[str, "EmbeddedInputs | EspalierError"]) -> dict[str, Embeddings]:
    """f32 [M, E] of each backbone that could be asked."""
    return {digest: found.embeddings for digest, found in embedded.items() if isinstance(found, EmbeddedInputs)}


def _pooled(embedded: dict[str, "EmbeddedInputs | EspalierError"]) -> dict[str, Embeddings]:
    """f32 [M, D] of each: what inputs are compared by. Beside taps, which are alike for all, no two would differ."""
    return {digest: found.pooled for digest, found in embedded.items() if isinstance(found, EmbeddedInputs)}


@dataclass(frozen=True, slots=True)
class EmbeddedInputs:
    """Embeddings f32 [M, E] of the inputs that could be read, their positions, and what was wrong with the rest."""

    embeddings: Embeddings
    indices: list[int]
    errors: list[ItemError]
    dimension: int | None = None  # D, of `pooled`; None: that is all there is

    @property
    def pooled(self) -> Embeddings:
        """The first part, f32 [M, D]: without what earlier blocks saw."""
        return self.embeddings[:, : self.dimension]

    def first(self, lengths: Iterable[int]) -> dict[int, Embeddings]:
        """So many numbers of each embedding, laid out for heads that read them: one copy a request, none of one input.

        An input's numbers lie side by side, so of one input the first of them already do, too.
        """
        return {length: np.ascontiguousarray(self.embeddings[:, :length]) for length in set(lengths)}


@traced("embed")
async def embed(
    predictor: Predictor,
    inputs: Sequence[bytes | memoryview],
    backbone_digest: str,
    on_error: OnError = "fail",
    flow: str = "",
) -> EmbeddedInputs:
    """Decode and embed inputs that were admitted, side by side and in turn with other flows."""
    batcher = predictor.batchers.get(backbone_digest)
    if batcher is None:
        batcher = await asyncio.to_thread(predictor.batcher, backbone_digest)
    most = modalities.most_of(batcher.modality_name, predictor.most)
    work = partial(_embed_one, predictor, batcher, most)
    results = await predictor.traffic.embed(inputs, backbone_digest, flow, work, batcher.modality.load)
    failed = {i: r for i, r in enumerate(results) if isinstance(r, EspalierError)}
    if failed and on_error == "fail":
        raise _named(*next(iter(failed.items())), noun=batcher.modality.NOUN, count=len(failed), total=len(inputs))
    good = [i for i in range(len(inputs)) if i not in failed]
    found = [r for r in results if not isinstance(r, EspalierError)]
    stacked = found[0][np.newaxis] if len(found) == 1 else np.stack(found) if found else np.zeros((0, 0), np.float32)
    errors = [ItemError(i, error.code, error.message) for i, error in failed.items()]
    return EmbeddedInputs(stacked, good, errors, batcher.dimension)


def _embed_one(predictor: Predictor, batcher: Batcher, most: int, item: Item) -> None:
    """In a lane: one input → f32 [E], unless it is remembered. Raises kinds of InvalidInput."""
    waiter = predictor.memory.look_up(qualified(item.tenant, item.backbone), item.data, item)
    if waiter is None:
        return
    began = clock()
    tensors = batcher.modality.decode(item.data, batcher.spec, most=most)
    item.decoded()
    predictor.traffic.meters.decode_seconds(clock() - began)
    batcher.put(tensors, waiter, predictor.traffic.lanes.alone())


def _named(index: int, error: EspalierError, *, noun: str, count: int, total: int) -> EspalierError:
    more = f" ({count} of {total} {noun}s cannot be used; on_error=skip answers for the others)" if total > 1 else ""
    return type(error)(f"{noun} {index}: {error.message}{more}", item=f"{noun} {index}")


def refuse_others(heads: Sequence[LiveHead], said: str | None) -> None:
    """Raises WrongModality for a head that reads another modality than was said, or than the first."""
    for head in heads:
        if head.modality != (said or heads[0].modality):
            raise _wrong(head, said or heads[0].modality)


def _wrong(head: LiveHead, sent: str) -> WrongModality:
    wanted, name = modalities.get(head.modality), shown(head.version.head)
    return WrongModality(
        f"the head {name!r} reads {wanted.NOUN}s, not {modalities.get(sent).NOUN}s: send {wanted.NOUN}s to it, in the "
        f"field {wanted.FIELD!r}, in a request of their own",
        item=name,
    )


def load(
    predictor: Predictor, inputs: Sequence[bytes | memoryview], refs: Sequence[HeadRef], said: str | None
) -> float:
    """How many ordinary inputs a request is worth, as far as is known before heads are loaded."""
    name = said
    if name is None:
        head = predictor.live.peek(refs[0])
        name = ORIGINAL if head is None else head.modality
    one = modalities.get(name).load
    return sum(one(len(data)) for data in inputs)


async def _admit(
    predictor: Predictor, refs: Sequence[HeadRef], min_generation: int
) -> tuple[int, Sequence[LiveHead | EspalierError]]:
    """The versions that will answer, fixed from here on: a swap while we work does not touch this request.

    In the place of one that cannot be loaded for a reason of ours is that reason.
    """
    live = predictor.live
    if min_generation:
        await live.catch_up(min_generation, {ref.name for ref in refs})
    generation = live.generation
    found = [live.peek(ref) for ref in refs]
    cold = [ref for ref, head in zip(refs, found, strict=True) if head is None]
    if cold:
        loaded = dict(zip(cold, await asyncio.gather(*(or_reason(live.fetch(ref)) for ref in cold)), strict=True))
        return generation, [head or loaded[ref] for ref, head in zip(refs, found, strict=True)]
    return generation, [head for head in found if head is not None]


@traced("heads")
async def _answer(
    predictor: Predictor, heads: Sequence[LiveHead], embedded: dict[str, EmbeddedInputs | EspalierError]
) -> list[HeadAnswers | EspalierError]:
    """One run a head over all inputs, M rows each; of one whose backbone failed, why that did."""
    good = {digest: found for digest, found in embedded.items() if isinstance(found, EmbeddedInputs)}

    def work() -> list[HeadAnswers | EspalierError]:
        began = clock()
        lengths = {d: {head.head.reads for head in heads if head.backbone_digest == d} for d in good}
        read = {digest: found.first(lengths[digest]) for digest, found in good.items()}
        answers = [_ask(head, read.get(head.backbone_digest), embedded) for head in heads]
        predictor.traffic.meters.head_seconds(clock() - began)
        return answers

    rows = max((len(e.indices) for e in good.values()), default=0)
    if rows * sum(len(head.classes) for head in heads) <= INLINE:
        return work()
    return await predictor.traffic.lanes.run(work)


def _ask(
    head: LiveHead, read: dict[int, Embeddings] | None, embedded: dict[str, EmbeddedInputs | EspalierError]
) -> HeadAnswers | EspalierError:
    if read is None:
        failed = embedded[head.backbone_digest]
        assert isinstance(failed, EspalierError)
        return failed
    rows = read[head.head.reads]
    return arms.ask(head, rows) if len(rows) else HeadAnswers(arrays.empty(tasks.get(head.task).shapes(head.classes)))


def _decode(
    heads: Sequence[LiveHead],
    terms: Sequence[Terms],
    embedded: dict[str, EmbeddedInputs | EspalierError],
    outputs: list[HeadAnswers | EspalierError],
    top_k: int,
    generation: int,
    failed: Failed | None = None,
) -> Predictions:
    """Raises the reason where no head is left that could answer."""
    failed = (failed or []) + [
        (h.version.head, o) for h, o in zip(heads, outputs, strict=True) if isinstance(o, EspalierError)
    ]
    first = next((e for e in embedded.values() if isinstance(e, EmbeddedInputs)), None)
    if first is None:
        raise failed[0][1]
    found = [
        Prediction(index, head, _said(head, wanted, answers, row, top_k))
        for row, index in enumerate(first.indices)
        for head, wanted, answers in zip(heads, terms, outputs, strict=True)
        if isinstance(answers, HeadAnswers)
    ]
    return Predictions(found, first.errors, generation, told(failed))


def _said(head: LiveHead, terms: Terms, answers: HeadAnswers, row: int, top_k: int) -> dict[str, Any]:
    task, answer = tasks.get(head.task), answers.row(row)
    schema = Schema(head.classes, head.version.manifest.get("decision", {}))
    novelty = float(answer[NOVELTY]) if NOVELTY in answer else None
    said = task.decode(answer, schema, top_k) | {"novelty": novelty}
    if terms == NOTHING:
        return said
    return said | task.promised(answer, schema, novelty or 0.0, terms)
