"""Two tenants in one database: names, keys and embeddings of each are its own, and bytes are kept once."""

import hashlib

import numpy as np
import pytest
from sqlalchemy.engine import Engine

from adapters.errors import IdempotencyConflict
from adapters.store import examples, heads, jobs, publishing
from adapters.store.database import reading
from adapters.store.embeddings import Embedded, EmbeddingCache
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.store.schema import embeddings
from adapters.store.upkeep import retention
from adapters.store.upkeep.retention import Keep
from adapters.store.whose import ANYBODYS, Whose
from adapters.tenancy import embedded_by, qualified
from adapters.types import Assignment, Example, JobRequest

TENANTS = ("", "acme", "acme-2")
BACKBONE = "b" * 64
NAMES = "abcd"


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def teach(engine: Engine, head: str, names: str = NAMES, key: str | None = None) -> str:
    """A job that has published a version of a head, with an embedding of each example; returns its id."""
    items = [Example(sha(n), "even" if ord(n) % 2 else "odd", f"{n}.png") for n in names]
    job = jobs.create(engine, JobRequest(head), items, fingerprint="f", idempotency_key=key)
    cache = EmbeddingCache(engine, embedded_by(head, BACKBONE))
    cache.put(Embedded(item.sha256, np.ones(4, np.float32), np.ones(256, np.uint8)) for item in items)
    manifest = {"data": {"digest": sha(f"data of {job.id}")}, "backbone": {"digest": BACKBONE, "name": "b"},
                "method": "ridge", "classes": ["even", "odd"], "metrics": {}}  # fmt: skip
    publishing.publish(engine, Publication(
        job.id, job.request, sha(f"graph of {job.id}"), manifest, {}, {},
        [(e, Assignment(e.sha256, e.label, "train")) for e in items], rejected=False, expected_live=None,
    ))  # fmt: skip
    jobs.release(engine, job.id)
    return job.id


def embedded(engine: Engine) -> dict[str, int]:
    """Backbone, with the tenant's name → embeddings."""
    with reading(engine) as connection:
        found = list(connection.execute(embeddings.select()).mappings())
    return {row["backbone"]: sum(other["backbone"] == row["backbone"] for other in found) for row in found}


def test_each_tenant_lists_its_own(engine):
    made = {tenant: teach(engine, qualified(tenant, "cats")) for tenant in TENANTS}
    for tenant in TENANTS:
        mine = Whose(tenant)
        assert [head.name for head in heads.page(engine, limit=9, whose=mine)] == [qualified(tenant, "cats")]
        assert [job.id for job in jobs.list_page(engine, limit=9, whose=mine)] == [made[tenant]]
        assert jobs.head_of(engine, made[tenant]) == qualified(tenant, "cats")
    assert len(heads.page(engine, limit=9)) == len(jobs.list_page(engine, limit=9, whose=ANYBODYS)) == 3


def test_lists_go_by_pages_within_a_tenant(engine):
    for name in ("a", "b", "c"):
        for tenant in TENANTS:
            teach(engine, qualified(tenant, name))
    first = heads.page(engine, limit=2, whose=Whose("acme"), after=qualified("acme", ""))
    rest = heads.page(engine, limit=2, whose=Whose("acme"), after=first[-1].name)
    assert [head.name for head in first + rest] == ["acme/a", "acme/b", "acme/c"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patterns", "found"),
    [(("door-*",), ["door-1"]), (("door_1",), ["door_1"]), (("*1",), ["door-1", "door_1"]), ((), []), (("doo",), [])],
)
@pytest.mark.parametrize("tenant", ["", "acme"])
def test_a_pattern_means_in_sql_what_it_means_in_python(engine, tenant, patterns, found):
    """`_` is itself, and not any letter, as LIKE has it."""
    for name in ("door-1", "door_1", "window"):
        teach(engine, qualified(tenant, name))
    listed = heads.page(engine, limit=9, whose=Whose(tenant, patterns))
    assert sorted(head.name for head in listed) == sorted(qualified(tenant, name) for name in found)


def test_tenants_choose_the_same_idempotency_key_and_meet_their_own_jobs(engine):
    made = {tenant: teach(engine, qualified(tenant, "cats"), key="k" * 255) for tenant in TENANTS}
    assert len(set(made.values())) == 3
    for tenant in TENANTS:
        assert jobs.find_by_key(engine, qualified(tenant, "cats"), "k" * 255, "f").id == made[tenant]
        with pytest.raises(IdempotencyConflict):
            jobs.find_by_key(engine, qualified(tenant, "dogs"), "k" * 255, "g")
    assert jobs.find_by_key(engine, "zebra/cats", "k" * 255, "f") is None


def test_the_longest_names_have_room(engine):
    name = qualified("t" * 40, "h" * 63)
    assert jobs.get(engine, teach(engine, name)).request.head == name
    assert heads.summary(engine, name).versions[0].manifest["head"] == "h" * 63, "as its owner knows it"


def test_what_a_tenant_forgets_is_gone_whoever_else_holds_it(engine):
    """The bytes stay for the others, the embedding does not: taught again, it would be found, and tell that they do."""
    for tenant in TENANTS:
        teach(engine, qualified(tenant, "cats"))
    teach(engine, "acme/dogs", "ab")
    assert heads.delete(engine, "acme/cats").count(sha("a")) == 0, "others hold the bytes"
    assert embedded(engine) == {BACKBONE: 4, f"acme/{BACKBONE}": 2, f"acme-2/{BACKBONE}": 4}
    heads.delete(engine, "cats")
    assert embedded(engine) == {f"acme/{BACKBONE}": 2, f"acme-2/{BACKBONE}": 4}
    heads.delete(engine, "acme/dogs")
    assert sha("a") in heads.delete(engine, "acme-2/cats")
    assert embedded(engine) == {}


def test_strays_of_a_tenant_are_dropped_although_others_hold_the_images(engine, tmp_path):
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    for tenant in TENANTS:
        teach(engine, qualified(tenant, "cats"))
    stray = EmbeddingCache(engine, f"zebra/{BACKBONE}")
    stray.put([Embedded(sha("a"), np.ones(4, np.float32), np.ones(256, np.uint8))])
    retention.sweep(engine, artifacts, Keep(days=30, jobs=10_000))
    assert embedded(engine) == {BACKBONE: 4, f"acme/{BACKBONE}": 4, f"acme-2/{BACKBONE}": 4}


def test_a_job_of_a_deleted_head_is_in_nobodys_list(engine):
    job_id = teach(engine, "acme/cats")
    heads.delete(engine, "acme/cats")
    for tenant in TENANTS:
        assert job_id not in [job.id for job in jobs.list_page(engine, limit=9, whose=Whose(tenant))]


def test_without_a_look_the_same_bytes_are_written_over_themselves(engine, tmp_path):
    """What is there is neither read nor spared, and is there all the time."""
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    digest = artifacts.put(b"bytes")
    path = next((tmp_path / "artifacts").glob(f"blobs/*/{digest}"))
    before = path.stat().st_ino
    artifacts.put_all([(digest, lambda: b"bytes")])
    assert path.stat().st_ino == before
    artifacts.put_all([(digest, lambda: b"bytes")], look=False)
    assert path.stat().st_ino != before and artifacts.get(digest) == b"bytes"
    assert blobs.sweep(engine, artifacts) == 0


def test_examples_of_a_head_are_its_tenants(engine):
    teach(engine, "acme/cats")
    assert len(examples.of_head(engine, "acme/cats")) == 4 and examples.of_head(engine, "cats") == []
