"""What some heads of an installation answer to examples that they were taught: to compare a copy with what it is of."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy.engine import Engine

from adapters import predict as pipeline
from adapters.errors import EspalierError
from adapters.predict import Predictor
from adapters.runtime.backbone import Backbones
from adapters.runtime.heads.live import LiveHeads
from adapters.runtime.onnx import processor
from adapters.runtime.queueing.traffic import Traffic
from adapters.store import examples, heads
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Example, HeadRef
from service.loading import load_backbone

HEADS, INPUTS = 20, 2  # that are asked, of each head
LISTED = 100_000  # heads that are chosen from
MEMORY = 256 << 20  # bytes of loaded heads
SECONDS = 120.0  # for one answer, the first of which loads a backbone
KEY = "image"  # of the SHA-256 of an input of any kind: backups that are there have it under this name
NOISE = 1e-3  # difference of two scores by two kinds of processor


def of(engine: Engine, artifacts: Artifacts, most: int = HEADS) -> list[dict[str, Any]]:
    """{"head", "version", KEY, "answer"} of `most` live heads, spread over all, and of their first examples.

    What is damaged or missing has {"error": its code} in place of an answer.
    """
    live = LiveHeads(engine, artifacts, max_bytes=MEMORY)
    backbones = Backbones(lambda digest: load_backbone(engine, artifacts, digest), "cpu")
    threads = processor.cores()
    predictor = Predictor(live, backbones, Traffic(threads, INPUTS, 1 << 40, SECONDS))
    try:
        return asyncio.run(_ask(predictor, engine, artifacts, _chosen(engine, most)))
    finally:
        predictor.close()


def differences(before: Sequence[dict[str, Any]], after: Sequence[dict[str, Any]]) -> list[str]:
    """Sentences on answers that are not what they were, but for noise of float32."""
    found = {_key(row): row for row in after}
    other = [row for row in before if not _alike(row, found.get(_key(row)))]
    return [f"{row['head']}@{row['version']} answers otherwise to the input {row[KEY]}" for row in other]


def _chosen(engine: Engine, most: int) -> list[str]:
    names = [head.name for head in heads.page(engine, limit=LISTED) if "live" in head.aliases]
    step = max(1, -(-len(names) // max(most, 1)))
    return names[::step] if most else []


async def _ask(predictor: Predictor, engine: Engine, artifacts: Artifacts, names: list[str]) -> list[dict[str, Any]]:
    answers = []
    for name in names:
        version = heads.resolve(engine, HeadRef(name)).number
        for example, _ in examples.page(engine, name, limit=INPUTS):
            said = await _answer(predictor, artifacts, name, example)
            answers.append({"head": name, "version": version, KEY: example.sha256} | said)
    return answers


async def _answer(predictor: Predictor, artifacts: Artifacts, name: str, example: Example) -> dict[str, Any]:
    try:
        data = await asyncio.to_thread(partial(examples.stored, artifacts, example))
        found = await pipeline.predict(predictor, [data], [HeadRef(name)], timeout=SECONDS)
    except EspalierError as error:
        return {"error": error.code}
    return {"answer": found.predictions[0].answer}


def _key(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["head"], row["version"], row[KEY]


def _alike(before: Any, after: Any) -> bool:
    if isinstance(before, dict) and isinstance(after, dict):
        return before.keys() == after.keys() and all(_alike(before[key], after[key]) for key in before)
    if isinstance(before, list | tuple) and isinstance(after, list | tuple):
        return len(before) == len(after) and all(map(_alike, before, after))
    if isinstance(before, float) and isinstance(after, float):
        return abs(before - after) <= NOISE * max(1.0, abs(before))
    return bool(before == after)
