"""Hard inputs in the database and the store: kept only where that is on, bounded, and gone with what they belong to."""

import concurrent.futures
import hashlib

import numpy as np
import pytest
import sqlalchemy as sa
from support.stores import Store, data, sha

from adapters.errors import HeadNotFound, QuotaExceeded, SampleNotFound
from adapters.sampling.facts import Candidate
from adapters.sampling.selection import unit
from adapters.store import heads, jobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.quotas import limits
from adapters.store.quotas.limits import Limits
from adapters.store.sampling import merging, switches
from adapters.store.sampling import samples as store
from adapters.store.sampling.samples import After
from adapters.store.schema import blob_holds, samples
from adapters.store.scrub import garbage, stored
from adapters.store.upkeep import retention
from adapters.store.upkeep.retention import Keep
from adapters.types import Example, JobRequest

rng = np.random.default_rng(0)
FREE = Limits()


@pytest.fixture
def shop(engine, tmp_path) -> Store:
    shop = Store(engine, Artifacts(str(tmp_path / "artifacts")))
    shop.teach("ab", "cats")
    return shop


def candidate(name: str, head: str = "cats", hardness: float = 0.9, backbone: str = "b") -> Candidate:
    bytes_ = data(name)
    vector = unit(rng.normal(size=(1, 64)).astype(np.float32))[0]
    digest = hashlib.sha256(bytes_).hexdigest()
    return Candidate(head, 1, backbone, digest, bytes_, vector, {"label": "odd"}, ("novel",), hardness)


def add(shop: Store, *names: str, head: str = "cats", most: Limits = FREE, **facts) -> int:
    return merging.add(shop.engine, shop.artifacts, [candidate(name, head, **facts) for name in names], most)


def kept(shop: Store, head: str = "cats") -> set[str]:
    return set(store.sizes(shop.engine, head))


def shas(*names: str) -> set[str]:
    return {sha(name) for name in names}


def test_nothing_is_kept_where_it_is_off(shop):
    assert add(shop, "m") == 0 and kept(shop) == set() and sha("m") not in shop.there()
    assert switches.find(shop.engine, "cats") is None and switches.switched_on(shop.engine) == frozenset()
    with pytest.raises(HeadNotFound):
        switches.find(shop.engine, "nobody")
    with pytest.raises(HeadNotFound):
        switches.switch_on(shop.engine, "nobody", 5, 1.0)


def test_what_is_hard_is_kept_once_and_nothing_that_was_taught(shop):
    before = switches.version(shop.engine)
    switches.switch_on(shop.engine, "cats", 5, 1.0)
    assert switches.version(shop.engine) > before and switches.switched_on(shop.engine) == {"cats"}
    assert add(shop, "m", "n", "m", "a") == 2, "m came twice, and the head was taught a"
    assert add(shop, "m", "n") == 0
    assert kept(shop) == shas("m", "n") <= shop.there() and shop.lost() == []
    assert store.find(shop.engine, "cats", sha("m")).size == len(data("m"))
    assert shop.count(blob_holds) == 0
    with pytest.raises(SampleNotFound):
        store.find(shop.engine, "cats", sha("z"))


def test_there_are_never_more_than_its_owner_said(shop):
    switches.switch_on(shop.engine, "cats", 3, 1.0)
    add(shop, *"mnopq", hardness=0.85)
    assert len(kept(shop)) == 3
    add(shop, *"rst", hardness=0.99)
    assert len(kept(shop)) == 3 and len(kept(shop) & shas(*"rst")) >= 2, "harder ones take the place of others"
    shop.sweep()
    assert {s for s in shop.there() if s in shas(*"mnopqrst")} == kept(shop), "and their bytes are gone"
    switches.switch_on(shop.engine, "cats", 1, 1.0)
    assert len(kept(shop)) == 1


def test_several_processes_keep_within_the_bound(shop):
    switches.switch_on(shop.engine, "cats", 4, 1.0)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda n: add(shop, f"{n}-one", f"{n}-two"), range(8)))
    assert len(kept(shop)) == 4 and shop.lost() == [] and shop.count(blob_holds) == 0


def test_samples_of_an_earlier_backbone_make_room_first(shop):
    switches.switch_on(shop.engine, "cats", 2, 1.0)
    add(shop, "m", "n", hardness=0.99)
    add(shop, "o", backbone="another", hardness=0.85)
    assert sha("o") in kept(shop) and len(kept(shop)) == 2


def test_of_those_the_least_hard_go_first(shop):
    """As while two versions answer that see inputs each in their own way."""
    switches.switch_on(shop.engine, "cats", 4, 1.0)
    for name, hardness in zip("mnop", (0.99, 0.81, 0.98, 0.82), strict=True):
        add(shop, name, hardness=hardness)
    add(shop, "q", "r", backbone="another", hardness=0.9)
    assert kept(shop) == shas("m", "o", "q", "r")


def test_pages_hold_each_sample_once_the_hardest_first(shop):
    switches.switch_on(shop.engine, "cats", 10, 1.0)
    for name, hardness in zip("mnopq", (0.9, 0.8, 0.9, 1.0, 0.85), strict=True):
        add(shop, name, hardness=hardness)
    found, after = [], None
    while page := store.page(shop.engine, "cats", 2, after):
        found += page
        after = After(page[-1].hardness, page[-1].sha256)
    assert [one.hardness for one in found] == [1.0, 0.9, 0.9, 0.85, 0.8] and len({one.sha256 for one in found}) == 5


def test_off_deletes_what_was_kept(shop):
    switches.switch_on(shop.engine, "cats", 5, 1.0)
    add(shop, "m", "n")
    shop.upload("m", "dogs")  # another head's, too
    assert switches.switch_off(shop.engine, "cats") == [sha("n")]
    shop.sweep()
    assert kept(shop) == set() and sha("n") not in shop.there() and sha("m") in shop.there()
    assert add(shop, "o") == 0


def test_one_or_all_can_be_deleted(shop):
    switches.switch_on(shop.engine, "cats", 5, 1.0)
    add(shop, "m", "n", "o")
    store.delete(shop.engine, "cats", sha("m"))
    assert kept(shop) == shas("n", "o")
    with pytest.raises(SampleNotFound):
        store.delete(shop.engine, "cats", sha("m"))
    store.delete(shop.engine, "cats")
    assert kept(shop) == set()


def test_they_go_with_their_head(shop):
    switches.switch_on(shop.engine, "cats", 5, 1.0)
    add(shop, "m")
    heads.delete(shop.engine, "cats")
    shop.sweep()
    assert shop.count(samples) == 0 and sha("m") not in shop.there()
    assert switches.switched_on(shop.engine) == frozenset()


def test_what_a_job_learns_is_hidden_and_then_an_example(shop):
    """And comes back where the job came to nothing."""
    switches.switch_on(shop.engine, "cats", 5, 1.0)
    add(shop, "m", "n")
    job_id = shop.upload("m", "cats")
    assert {one.sha256 for one in store.page(shop.engine, "cats", 9)} == shas("n")
    jobs.request_cancel(shop.engine, job_id)
    assert {one.sha256 for one in store.page(shop.engine, "cats", 9)} == shas("m", "n")
    shop.teach("abm", "cats")
    shop.sweep()
    assert kept(shop) == shas("n") and shop.lost() == [] and sha("m") in shop.there()
    assert add(shop, "m") == 0


def test_what_is_unlearned_is_no_sample_either(shop):
    """An example that is taken back, and that was kept as a sample of the head before it was taught."""
    switches.switch_on(shop.engine, "cats", 5, 1.0)
    add(shop, "m")
    job = jobs.create(shop.engine, JobRequest("cats"), [Example(sha("m"), "odd", "m.png")], fingerprint="remove")
    with shop.engine.begin() as connection:
        store.drop_taught(connection, "cats", job.id)
    jobs.abandon(shop.engine, job.id, "cancelled", None)
    shop.sweep()
    assert kept(shop) == set() and sha("m") not in shop.there()


def test_they_are_forgotten_after_their_days_and_gc_says_so(shop):
    switches.switch_on(shop.engine, "cats", 5, 2.0)
    add(shop, "m", "n")
    with shop.engine.begin() as connection:
        older = samples.update().where(samples.c.sha256 == sha("m"))
        connection.execute(older.values(asked_at=samples.c.asked_at - 3 * store.DAY))
    keep = Keep(30, 100)
    found = garbage.look(shop.engine, shop.artifacts, keep)
    assert (found.samples, found.blobs) == (1, 1)
    retention.sweep(shop.engine, shop.artifacts, keep)
    assert kept(shop) == shas("n") and sha("m") not in shop.there()
    left = garbage.look(shop.engine, shop.artifacts, keep)
    assert (left.samples, left.blobs) == (0, 0)


def test_check_knows_whose_the_blobs_are(shop):
    switches.switch_on(shop.engine, "cats", 5, 2.0)
    add(shop, "m")
    item, fix = stored.in_use(shop.engine)[sha("m")]
    assert "sample of cats" in item and "espalier samples delete" in fix


def test_they_count_as_bytes_and_take_no_more_than_there_are(shop):
    switches.switch_on(shop.engine, "cats", 5, 1.0)
    before = sum(len(data(name)) for name in "ab")
    with shop.engine.begin() as connection:  # the sizes of what was taught
        merging.usage.note_sizes(connection, {sha(name): len(data(name)) for name in "ab"})
    room = Limits(bytes=before + len(data("m")))
    assert add(shop, "m", most=room) == 1
    with pytest.raises(QuotaExceeded):
        add(shop, "n", most=room)
    assert kept(shop) == shas("m") and sha("n") not in shop.there() and shop.count(blob_holds) == 0
    limits.put(shop.engine, "", "", {"bytes": "unlimited"})
    assert add(shop, "n", most=room) == 1, "what an operator has set counts"


def test_switching_and_deleting_is_in_the_audit_log(shop):
    switches.switch_on(shop.engine, "cats", 5, 1.0)
    add(shop, "m")
    store.delete(shop.engine, "cats")
    switches.switch_off(shop.engine, "cats")
    with shop.engine.connect() as connection:
        query = sa.text("SELECT action FROM audit WHERE action LIKE 's%' ORDER BY sequence")
        assert list(connection.execute(query).scalars()) == ["sampling.set", "samples.delete", "sampling.set"]
