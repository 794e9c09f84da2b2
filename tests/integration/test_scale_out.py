"""A large job's images are embedded by several workers as by one: the same vectors, the same errors, once each."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from support.services import eventually
from support.training import Bench, bench, picture

from adapters import finetune as pipeline
from adapters.errors import InvalidImage
from adapters.store import jobs
from adapters.store.scale_out import shards
from adapters.store.schema import embeddings, job_events, job_examples, job_shards
from adapters.store.schema import jobs as jobs_table
from adapters.types import Example, Job
from service.operations import logs

SIZE = 8  # images of a shard
COUNT = 100
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield Bench(replace(made.shop, shard=SIZE))


def pictures(count: int = COUNT, start: int = 0) -> list:
    return [picture(n, "ab"[n % 2]) for n in range(start, start + count)]


def vectors(shop: Bench) -> dict[tuple[str, str], tuple[bytes, bytes]]:
    with shop.shop.engine.connect() as connection:
        rows = connection.execute(sa.select(embeddings)).mappings().all()
    return {(row["sha256"], row["view"]): (row["vector"], row["fingerprint"]) for row in rows}


def left(shop: Bench) -> int:
    with shop.shop.engine.connect() as connection:
        return int(connection.execute(sa.select(sa.func.count()).select_from(job_shards)).scalar_one())


@contextmanager
def helping(shop: Bench, workers: int = 2) -> Iterator[list[int]]:
    """Other workers, idle but for this; how many shards each has done."""
    stop, done = threading.Event(), [0] * workers

    def help_out(number: int) -> None:
        while not stop.is_set():
            shard = shards.claim(shop.shop.engine)
            if shard is not None:
                pipeline.help_out(shop.shop, shard)
                done[number] += 1

    threads = [threading.Thread(target=help_out, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def embedded(shop: Bench, head: str, sent: list) -> dict[str, int]:
    return pipeline.embed(shop.shop, shop.job(head, sent).id)


def test_several_workers_leave_what_one_leaves_bit_for_bit(tmp_path):
    with bench(tmp_path / "one") as alone, bench(tmp_path / "several") as made:
        several = Bench(replace(made.shop, shard=SIZE))
        wanted = embedded(alone, "head", pictures())
        with helping(several) as done:
            found = embedded(several, "head", pictures())
        assert sum(done) > 0, "nobody helped: this shows nothing"
        assert vectors(several) == vectors(alone) and len(vectors(alone)) >= COUNT
        assert {k: v for k, v in found.items() if k != "seconds"} == {k: v for k, v in wanted.items() if k != "seconds"}
        assert left(several) == 0


def test_what_is_cached_is_not_shared_out_and_progress_adds_up(shop):
    embedded(shop, "first", pictures(SIZE))
    job = shop.job("second", pictures())
    with helping(shop):
        found = pipeline.embed(shop.shop, job.id)
    assert (found["cached"], found["new"]) == (SIZE, COUNT - SIZE)
    with shop.shop.engine.connect() as connection:
        mine = (job_events.c.job_id == job.id, job_events.c.type == "progress")
        told = connection.execute(sa.select(job_events.c.data).where(*mine).order_by(job_events.c.sequence)).scalars()
        steps = [(data["done"], data["total"]) for data in told]
    assert steps[-1] == (COUNT - SIZE, COUNT - SIZE) and steps == sorted(steps)


def damaged(shop: Bench, head: str) -> Job:
    """A job with an image that cannot be read in nearly each shard."""
    sent = pictures()
    bad = [replace(sent[n], data=b"nonsense %d" % n) for n in range(3, COUNT, 7)]
    names = {id(p): shop.shop.artifacts.put(p.data) for p in bad}
    broken = [Example(names[id(p)], p.example.label, p.example.file_name) for p in bad]
    job = shop.job(head, [p for n, p in enumerate(sent) if n % 7 != 3])
    with shop.shop.engine.begin() as connection:
        rows = [
            {"job_id": job.id, "position": 1000 + n, "sha256": e.sha256, "label": e.label, "file_name": e.file_name}
            for n, e in enumerate(broken)
        ]
        connection.execute(sa.insert(job_examples), rows)
    return job


def test_images_that_cannot_be_read_are_all_named_as_by_one_worker(tmp_path):
    with bench(tmp_path / "one") as alone, bench(tmp_path / "several") as made:
        several, said = Bench(replace(made.shop, shard=SIZE)), []
        for shop in (alone, several):
            job = damaged(shop, "head")
            with helping(several), pytest.raises(InvalidImage) as raised:
                pipeline.embed(shop.shop, job.id)
            said.append((raised.value.message, raised.value.errors, raised.value.error_count))
        assert said[0] == said[1] and said[0][2] == 14
        assert left(several) == 0 and vectors(several) == vectors(alone)


def test_a_shard_whose_worker_died_is_done_by_another(shop, monkeypatch):
    """It took one up and was not heard of again."""
    plan, lost = shards.plan, []

    def planned(engine, job_id, parts, views):
        plan(engine, job_id, parts, views)
        monkeypatch.setattr(shards, "LEASE", 0.2)
        lost.append(shards.claim(engine, job_id))

    monkeypatch.setattr(shards, "plan", planned)
    assert embedded(shop, "head", pictures())["new"] == COUNT
    assert len(vectors(shop)) >= COUNT
    with pytest.raises(shards.ShardLost):
        shards.tell(shop.shop.engine, lost[0], 1)


def test_who_takes_up_a_shard_knows_whose_it_is(shop):
    """For its lines and spans: an error on a worker that helps is looked for by the request that caused it."""
    engine = shop.shop.engine
    job = shop.job("acme/cats", pictures(2))
    shards.plan(engine, job.id, [[("a" * 64, "a.png")]], ["centre"])
    with engine.begin() as connection:
        connection.execute(
            jobs_table.update().values(status=shards.EMBEDDING, request_id="order-66", traceparent=PARENT)
        )
    shard = shards.claim(engine)
    assert shard is not None and shard.traceparent == PARENT
    assert logs.of_job(shard) == {"request_id": "order-66", "job_id": job.id, "tenant": "acme", "head": "cats"}


def test_who_is_at_a_shard_of_a_job_that_was_cancelled_stops(shop):
    job = shop.job("head", pictures())
    jobs.enter(shop.shop.engine, job.id, "embedding")
    shards.plan(shop.shop.engine, job.id, [[("a" * 64, "a.png")], [("b" * 64, "b.png")]], [])
    held = shards.claim(shop.shop.engine)
    jobs.request_cancel(shop.shop.engine, job.id)
    assert shards.claim(shop.shop.engine) is None
    with pytest.raises(shards.ShardLost):
        shards.tell(shop.shop.engine, held, 1)
    jobs.release(shop.shop.engine, job.id)
    assert eventually(lambda: left(shop) == 0)
