"""What to label next: of many unlabeled inputs, the few that teach a head most.

While labels are few, typical inputs of what no label covers yet teach most (TypiClust, Hacohen et al., ICML 2022):
uncertainty means little when the head knows little. Later, inputs that the head hesitates between teach most, taken
from different places so that ten are not ten of the same kind (as BADGE does, Ash et al., ICLR 2020). Both look at all
of an embedding: on photos of the sky typical images by its last layer alone taught less than random ones
(docs/adr/0010).
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sqlalchemy.engine import Engine

from adapters import arrays, modalities, tasks
from adapters import predict as pipeline
from adapters.errors import EspalierError
from adapters.predict import OnError, Predictor
from adapters.runtime import passes
from adapters.runtime.heads.loaded import LiveHead
from adapters.runtime.passes import EmbeddedInputs, ItemError
from adapters.sampling.selection import uncertain, unit
from adapters.store import examples, keeping
from adapters.store.embeddings import EmbeddingCache
from adapters.tenancy import embedded_by
from adapters.types import Arrays, Embeddings, Floats, HeadRef, Indices, Rows, Schema

Strategy = Literal["typical", "uncertain"]

FEW = 10  # examples a class, on average: below it typical inputs are asked for
MOST_LABELED = 5000  # embeddings looked at: more say little about what is covered
NEIGHBOURS = 20  # whose mean distance says how typical an input is
ROUNDS = 10  # of k-means
AT_A_TIME = 64  # inputs that a deep head is asked


@dataclass(frozen=True, slots=True)
class Suggestions:
    """Inputs worth a label, the best first."""

    head: LiveHead
    strategy: Strategy
    explanation: str
    indices: list[int]  # of inputs in the request
    answers: list[dict[str, Any]]  # what the head says of each now
    doubts: list[float]  # the chance that what it says is wrong, by its own calibrated word
    random_doubt: float  # the mean of that over all inputs
    errors: list[ItemError]


async def suggest(
    predictor: Predictor,
    engine: Engine,
    inputs: Sequence[bytes | memoryview],
    ref: HeadRef,
    count: int,
    on_error: OnError = "fail",
    timeout: float | None = None,
    modality: str | None = None,
) -> Suggestions:
    """The `count` inputs to label next; see `adapters.predict.predict` for what it takes and raises."""
    async with predictor.traffic.admitted(pipeline.load(predictor, inputs, [ref], modality), ref.name, timeout):
        found = predictor.live.peek(ref)
        loaded = found if found is not None else await predictor.live.fetch(ref)
        pipeline.refuse_others([loaded], modality)
        embedded, read = await _embedded(predictor, inputs, loaded, on_error)
    noun = modalities.get(loaded.modality).NOUN
    if not embedded.indices:
        return Suggestions(loaded, "typical", f"none of the {noun}s can be read", [], [], [], 0.0, embedded.errors)
    return await asyncio.to_thread(_chosen, engine, loaded, embedded, read, count)


async def _embedded(
    predictor: Predictor, inputs: Sequence[bytes | memoryview], loaded: LiveHead, on_error: OnError
) -> tuple[EmbeddedInputs, EmbeddedInputs]:
    """What inputs are compared by, their embeddings, and what the head reads: of a shallow one that is the same."""
    base, cut = loaded.backbone_digest, [] if loaded.deep is None else [loaded.deep]
    found = await pipeline.embed_for(predictor, inputs, passes.plan([base], cut), on_error, loaded.version.head)
    return _told(found[base]), _told(passes.told_to(loaded, found))


def _told(found: EmbeddedInputs | EspalierError) -> EmbeddedInputs:
    if isinstance(found, EspalierError):
        raise found
    return found


def _chosen(
    engine: Engine, loaded: LiveHead, embedded: EmbeddedInputs, read: EmbeddedInputs, count: int
) -> Suggestions:
    task, noun = tasks.get(loaded.task), modalities.get(loaded.modality).NOUN
    answers = _answers(loaded, read.embeddings)
    doubts = task.doubt(answers)
    schema = Schema(loaded.classes, loaded.version.manifest.get("decision", {}))
    labeled = _labeled(engine, loaded)
    count = min(count, len(doubts))
    gone = not len(labeled) and keeping.have_gone(engine, loaded.version.head)
    few = not gone and len(labeled) < FEW * max(1, len(loaded.classes))
    if few:
        rows = typical(embedded.embeddings, labeled, count)
        why = f"the head has {len(labeled)} examples, so typical {noun}s of what none of them covers come first"
    else:
        rows = uncertain(embedded.embeddings, task.hesitation(answers), count)
        why = f"the {noun}s that the head hesitates about most, from different places, come first"
        why += "; its examples were not kept, so none are looked for that these do not cover" if gone else ""
    return Suggestions(
        loaded, "typical" if few else "uncertain", why, [embedded.indices[row] for row in rows],
        [task.decode(arrays.row(answers, row), schema, 2) for row in rows], [float(doubts[row]) for row in rows],
        float(doubts.mean()), embedded.errors,
    )  # fmt: skip


def _answers(loaded: LiveHead, rows: Rows) -> Arrays:
    """What the head says of N ≥ 1 inputs; a deep one a few at a time, as maps of thousands would be gigabytes in it."""
    if loaded.deep is None:
        return loaded.head.answer(rows).arrays
    parts = (rows[start : start + AT_A_TIME] for start in range(0, len(rows), AT_A_TIME))
    return arrays.joined([loaded.head.answer(part).arrays for part in parts])


def _labeled(engine: Engine, loaded: LiveHead) -> Embeddings:
    """Embeddings f32 [M, E] of the head's examples, as far as they are cached."""
    shas = list(examples.labels_of_head(engine, loaded.version.head))[:MOST_LABELED]
    cache = EmbeddingCache(engine, embedded_by(loaded.version.head, loaded.backbone_digest))
    missing = set(cache.missing(shas))
    known = [sha for sha in shas if sha not in missing]
    return cache.get(known)[0] if known else np.zeros((0, 0), np.float32)


def typical(embeddings: Embeddings, labeled: Embeddings, count: int) -> list[int]:
    """Rows of `embeddings` f32 [N, D]: the densest place of each of the largest clusters that no label is in."""
    x = unit(embeddings)
    known = unit(labeled) if len(labeled) else x[:0]
    both = np.concatenate([x, known])
    clusters = _kmeans(both, min(len(both), count + min(len(known), 2 * count)))
    covered = np.bincount(clusters[len(x) :], minlength=clusters.max() + 1)
    sizes = np.bincount(clusters[: len(x)], minlength=len(covered))
    density = _density(x)
    chosen: list[int] = []
    order = np.lexsort((-sizes, covered))  # the least covered first, then the largest
    while len(chosen) < count:
        for cluster in order.tolist():
            members = np.setdiff1d(np.flatnonzero(clusters[: len(x)] == cluster), chosen)
            if len(members) and len(chosen) < count:
                chosen.append(int(members[density[members].argmax()]))
    return chosen


def _density(x: Floats) -> Floats:
    """One over the mean distance to the nearest neighbours, f32 [N]."""
    near = min(NEIGHBOURS, len(x) - 1)
    if near == 0:
        return np.ones(len(x), np.float32)
    similar = np.sort(x @ x.T, axis=1)[:, -near - 1 : -1]
    density: Floats = 1 / (1 - similar.mean(axis=1) + 1e-6)
    return density


def _kmeans(x: Floats, count: int) -> Indices:
    """Cluster numbers i64 [N] of unit vectors; begun at points far apart, so that the same inputs give the same."""
    centres = x[[0]]
    distance = 1 - x @ x[0]
    while len(centres) < count:
        centres = np.concatenate([centres, x[[int(distance.argmax())]]])
        distance = np.minimum(distance, 1 - x @ centres[-1])
    nearest = (x @ centres.T).argmax(axis=1)
    for _ in range(ROUNDS):
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, x)
        centres = np.where(np.linalg.norm(sums, axis=1, keepdims=True) > 0, unit(sums), centres)
        nearest = (x @ centres.T).argmax(axis=1)
    found: Indices = nearest.astype(np.int64)
    return found
