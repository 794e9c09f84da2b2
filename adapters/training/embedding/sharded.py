"""A large job's inputs are embedded by every worker that has nothing else to do, each a shard at a time.

What becomes of an input does not depend on who embeds it or beside which others (on a CPU each goes through the
backbone alone), and the cache keeps it by content: afterwards the same vectors are found, bit for bit, however many
took part.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy.engine import Engine

from adapters.errors import InvalidInput, ItemProblem
from adapters.problems import MOST, Problems
from adapters.store.scale_out import shards
from adapters.store.scale_out.shards import Shard
from adapters.training.embedding.embed import Embedder
from adapters.types import Example

SIZE = 1000  # inputs of a shard
PAUSE = 0.2  # seconds between looks while others are at the last shards

Report = Callable[[int, int], None]


def embed(
    embedder: Embedder,
    engine: Engine,
    job_id: str,
    examples: Sequence[Example],
    report: Report,
    views: Sequence[str],
    size: int = SIZE,
) -> dict[str, int]:
    """`Embedder.embed` of a job, shared out where there are at least two shards to do. Raises what that does."""
    work = embedder.lacking(examples, views)
    if len(work) < 2 * size:
        return embedder.embed(examples, report, views)
    counts = embedder.counts(examples, work)
    inputs = [(example.sha256, example.file_name) for example, _ in work]
    shards.plan(engine, job_id, [inputs[n : n + size] for n in range(0, len(inputs), size)], views)
    bad = _until_done(embedder, engine, job_id, len(inputs), report)
    shards.forget(engine, job_id)
    bad.raise_any(f"{bad.count} of {len(inputs)} {embedder.noun}s cannot be used")
    return counts


def _until_done(embedder: Embedder, engine: Engine, job_id: str, total: int, report: Report) -> Problems:
    """Work at shards until none is left, and wait for those that others are at."""

    def tell(*_: int) -> None:
        report(min(shards.state(engine, job_id).done, total - 1), total)

    while (state := shards.state(engine, job_id)).open:
        tell()
        shard = shards.claim(engine, job_id)
        if shard is None:
            time.sleep(PAUSE)
        else:
            work_at(embedder, engine, shard, tell)
    report(total, total)
    return _together(state.problems)


def work_at(embedder: Embedder, engine: Engine, shard: Shard, tell: Report = lambda *_: None) -> None:
    """Embed the inputs of a shard that was taken up; nothing more is done once it is another's.

    Raises what reading inputs and the database do, and what `tell` does, which is called after every chunk.
    """

    def report(done: int, total: int) -> None:
        shards.tell(engine, shard, min(done, total))
        tell(done, total)

    examples = [Example(sha256, "", file_name) for sha256, file_name in shard.inputs]
    try:
        bad = embedder.embed_usable(embedder.lacking(examples, shard.views), report, shard.views)
        shards.finish(engine, shard, _facts(bad))
    except shards.ShardLost:
        return


def _facts(bad: Problems) -> list[dict[str, Any]]:
    """What is wrong with a shard's inputs, as JSON: at most one row, with the first in full."""
    if bad.first is None:
        return []
    first = {"code": bad.first.code, "message": bad.first.message, "item": bad.first.item}
    return [{"first": first} | bad.facts()]


def _together(rows: Sequence[dict[str, Any]]) -> Problems:
    """The same of all shards, in order."""
    together = Problems()
    for row in rows:
        kind = KINDS.get(row["first"]["code"], InvalidInput)
        together.first = together.first or kind(row["first"]["message"], item=row["first"]["item"])
        together.listed += [ItemProblem(**problem) for problem in row["list"]][: MOST - len(together.listed)]
        together.count += row["count"]
    return together


def _kinds(kind: type[InvalidInput]) -> dict[str, type[InvalidInput]]:
    return {kind.code: kind} | {code: one for child in kind.__subclasses__() for code, one in _kinds(child).items()}


KINDS = _kinds(InvalidInput)
