"""THE PREDICT PIPELINE.

bytes → decode (modality) → micro-batch → backbone or trunk (ONNX) → head (ONNX) → decode (task) → response

One pass through a backbone serves every head of a request that lives on it, deep ones that read it at a cut, too.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Literal

from adapters import modalities
from adapters.answering import answers
from adapters.backbones.cuts import Part
from adapters.decoding import Decoder, Prediction
from adapters.errors import EspalierError, WrongModality
from adapters.monitoring import arms
from adapters.monitoring.monitor import Monitor
from adapters.monitoring.sampler import Sampler
from adapters.rollout import turns
from adapters.runtime import passes
from adapters.runtime.backbone import Backbones
from adapters.runtime.batcher import Batcher, Waiter
from adapters.runtime.embedding_memory import EmbeddingMemory
from adapters.runtime.failures import Failed, HeadError, or_reason, told, working
from adapters.runtime.heads.head import HeadAnswers
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.heads.loaded import LiveHead
from adapters.runtime.passes import EmbeddedInputs, Found, ItemError, Pass
from adapters.runtime.queueing import aside
from adapters.runtime.queueing.inflight import Item
from adapters.runtime.queueing.lanes import clock
from adapters.runtime.queueing.traffic import Traffic
from adapters.spans import traced
from adapters.tenancy import qualified, shown
from adapters.trust import Terms
from adapters.types import ORIGINAL, Embeddings, HeadRef, Rows

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

    def batcher(self, source: str | Part) -> Batcher:
        """The batcher of a backbone or a part of one, which is loaded when first asked for."""
        digest = source if isinstance(source, str) else source.digest
        if digest not in self.batchers:
            loaded = self.backbones.get(source)
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
class Predictions:
    """Predictions by input, then by head in the order asked for."""

    predictions: list[Prediction]
    errors: list[ItemError]
    generation: int
    head_errors: list[HeadError] = field(default_factory=list)
    indices: Sequence[int] = ()  # of the inputs that could be read
    numbers: int = 0  # that all heads together say of one input, about


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
        known = await embed_for(predictor, inputs, passes.of(heads), on_error, flow)
        embedded = passes.aligned(known, heads)
        outputs = await answers(predictor.traffic, heads, embedded, flow)
        asked, heads = heads, arms.stand_ins(heads, outputs)
        if heads is not asked:  # candidates of roll-outs failed, and live answers in their place
            terms = [head.terms(coverage, abstain) for head in heads]
            known |= await embed_for(predictor, inputs, passes.of(heads, known), on_error, flow)
            embedded = passes.aligned(known, heads)
            outputs = await answers(predictor.traffic, heads, embedded, flow)
        answered = await _decode(predictor, heads, terms, embedded, outputs, top_k, generation, failed)
        if predictor.monitor is not None:
            predictor.monitor.saw(heads, outputs, answered.predictions, partial(_rows, embedded))
        if predictor.sampler is not None and predictor.sampler.heads:
            seen = answered.predictions, partial(_pooled, embedded), inputs
            saw = partial(predictor.sampler.saw, heads, outputs, *seen)
            await aside.run(saw, len(inputs) * answered.numbers)
        return answered


def _rows(embedded: Found) -> dict[str, Rows]:
    """f32 [M, E] of each backbone that could be asked, taps [M, *shape] of each trunk."""
    return {digest: found.embeddings for digest, found in embedded.items() if isinstance(found, EmbeddedInputs)}


def _pooled(embedded: Found, backbone: str) -> Embeddings:
    """f32 [M, D] of a backbone, what inputs are compared by: beside taps, alike for all, none would differ."""
    found = embedded[backbone]
    assert isinstance(found, EmbeddedInputs)  # a head that it is asked for has answered
    return found.pooled


async def embed(
    predictor: Predictor,
    inputs: Sequence[bytes | memoryview],
    backbone_digest: str,
    on_error: OnError = "fail",
    flow: str = "",
) -> EmbeddedInputs:
    """Decode and embed inputs that were admitted, side by side and in turn with other flows."""
    found = await _run(predictor, inputs, Pass(backbone_digest, (backbone_digest,)), on_error, flow)
    return found[0]


async def embed_for(
    predictor: Predictor, inputs: Sequence[bytes | memoryview], run: Sequence[Pass], on_error: OnError, flow: str
) -> Found:
    """What some passes tell; of one that failed for a fault of ours, why."""
    found: Found = {}
    for each in run:
        told = await or_reason(_run(predictor, inputs, each, on_error, flow))
        if isinstance(told, EspalierError) and each.alone:
            found |= await embed_for(predictor, inputs, each.alone, on_error, flow)
        elif isinstance(told, EspalierError):
            found[each.digest] = told
        else:
            found.update(zip(each.tells, told, strict=True))
    return found


@traced("embed")
async def _run(
    predictor: Predictor, inputs: Sequence[bytes | memoryview], wanted: Pass, on_error: OnError, flow: str
) -> list[EmbeddedInputs]:
    """One pass over inputs that were admitted: what it tells, each for itself."""
    batcher = predictor.batchers.get(wanted.digest)
    if batcher is None:
        batcher = await asyncio.to_thread(predictor.batcher, wanted.source)
    most = modalities.most_of(batcher.modality_name, predictor.most)
    work = partial(_embed_one, predictor, batcher, wanted, most)
    results = await predictor.traffic.embed(inputs, wanted.digest, flow, work, batcher.modality.load)
    failed = {i: r for i, r in enumerate(results) if isinstance(r, EspalierError)}
    if failed and on_error == "fail":
        raise _named(*next(iter(failed.items())), noun=batcher.modality.NOUN, count=len(failed), total=len(inputs))
    good = [i for i in range(len(inputs)) if i not in failed]
    columns = wanted.columns([r for r in results if not isinstance(r, EspalierError)])
    errors = [ItemError(i, error.code, error.message) for i, error in failed.items()]
    return [EmbeddedInputs(column, good, errors, batcher.dimension) for column in columns]


def _embed_one(predictor: Predictor, batcher: Batcher, wanted: Pass, most: int, item: Item) -> None:
    """In a lane: one input → what the pass tells of it, unless it is remembered. Raises kinds of InvalidInput."""
    waiter = _remembered(predictor.memory, wanted, item)
    if waiter is None:
        return
    began = clock()
    tensors = batcher.modality.decode(item.data, batcher.spec, most=most)
    item.decoded()
    predictor.traffic.meters.decode_seconds(clock() - began)
    batcher.put(tensors, waiter, predictor.traffic.lanes.alone())


def _remembered(memory: EmbeddingMemory, wanted: Pass, item: Item) -> Waiter | None:
    """None where all is known; else who waits for the rest."""
    names = [qualified(item.tenant, digest) for digest in wanted.tells]
    if len(names) == 1:
        return memory.look_up(names[0], item.data, item, isinstance(wanted.source, str))
    return memory.look_up_pair(names[0], names[1], item.data, item)


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
    total, tails = sum(one(len(data)) for data in inputs), predictor.live.tails
    return total * (1 + sum(tails.get(ref, 0.0) for ref in refs)) if tails else total


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


async def _decode(
    predictor: Predictor,
    heads: Sequence[LiveHead],
    terms: Sequence[Terms],
    embedded: Found,
    outputs: Sequence[HeadAnswers | EspalierError],
    top_k: int,
    generation: int,
    failed: Failed,
) -> Predictions:
    """`embedded` is aligned. Raises the reason where no head is left that could answer."""
    failed = failed + [(h.version.head, o) for h, o in zip(heads, outputs, strict=True) if isinstance(o, EspalierError)]
    first = next((e for head in heads if isinstance(e := embedded[head.source], EmbeddedInputs)), None)
    if first is None:
        raise failed[0][1]
    decoder = Decoder.of(heads, terms, outputs, top_k, predictor.monitor)
    rows, numbers = list(enumerate(first.indices)), decoder.numbers
    if len(rows) * numbers <= aside.INLINE:
        found = decoder(rows)
    else:
        found = list(chain.from_iterable(await aside.in_steps(decoder, rows, numbers)))
    return Predictions(found, first.errors, generation, told(failed), first.indices, numbers)
