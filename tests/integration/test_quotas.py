"""Quotas: what a tenant and a key have, checked in the transaction that accepts a job, however many ask at once."""

import concurrent.futures
import hashlib
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa

from adapters.errors import InvalidInput, QuotaExceeded
from adapters.store import database, heads, jobs, publishing
from adapters.store.access import keys
from adapters.store.access.keys import Key
from adapters.store.audit import log
from adapters.store.audit.actor import Actor, acting
from adapters.store.objects import blobs
from adapters.store.objects.artifacts import Artifacts
from adapters.store.publishing import Publication
from adapters.store.quotas import limits, usage
from adapters.store.quotas.limits import ALL, Book, Limits
from adapters.store.quotas.tables import blob_sizes
from adapters.store.quotas.usage import Owner
from adapters.store.schema import metadata
from adapters.types import Assignment, Example, JobRequest

SIZE = 100  # bytes of each example


def sha(name):
    return hashlib.sha256(name.encode()).hexdigest()


def request(head):
    return JobRequest(head=head, task="classification", backbone="b")


def accept(engine, head, names="ab", owner=None, **most):
    """A job with one example for each letter, within limits."""
    owner = owner or Owner("")

    def guard(connection, job_id):
        usage.take_turn(connection, owner.tenant)
        usage.require(connection, owner, Limits(**most), job_id, ("heads", "examples", "bytes", "jobs"))

    items = [Example(sha(name), name, f"{name}.png") for name in names]
    with acting(Actor(owner.tenant, owner.key)):
        return jobs.create(
            engine, request(head), items, fingerprint="f", guard=guard, sizes={sha(n): SIZE for n in names}
        ).id


def publish(engine, job_id, head, names="ab"):
    brought = [Example(sha(name), name, f"{name}.png") for name in names]
    facts = {"data": {"digest": sha("data")}, "classes": [], "metrics": {}, "method": "m", "backbone": {"name": "b"}}
    publication = Publication(
        job_id, request(head), sha(job_id), facts, {}, {},
        [(e, Assignment(e.sha256, e.label, "train")) for e in brought], False, None,
    )  # fmt: skip
    publishing.publish(engine, publication)
    jobs.release(engine, job_id)


def have(engine, owner):
    with engine.connect() as connection:
        return {name: usage.used(connection, owner, name) for name in ("heads", "examples", "bytes", "jobs")}


def test_what_a_job_brings_counts_from_its_acceptance_on_and_once(engine):
    job_id = accept(engine, "cats", "ab")
    assert have(engine, Owner("")) == {"heads": 1, "examples": 2, "bytes": 2 * SIZE, "jobs": 1}
    publish(engine, job_id, "cats", "ab")
    assert have(engine, Owner("")) == {"heads": 1, "examples": 2, "bytes": 2 * SIZE, "jobs": 0}
    accept(engine, "cats", "bc")
    assert have(engine, Owner("")) == {"heads": 1, "examples": 3, "bytes": 3 * SIZE, "jobs": 1}
    accept(engine, "dogs", "a")
    assert have(engine, Owner("")) == {"heads": 2, "examples": 4, "bytes": 3 * SIZE, "jobs": 2}


@pytest.mark.slow
def test_tenants_and_keys_have_their_own(engine):
    publish(engine, accept(engine, "acme/cats", "ab", Owner("acme", "key_1")), "acme/cats", "ab")
    accept(engine, "acme/dogs", "a", Owner("acme", "key_2"))
    accept(engine, "acm/cats", "a", Owner("acm", "key_3"))
    accept(engine, "cats", "a")
    assert have(engine, Owner("acme")) == {"heads": 2, "examples": 3, "bytes": 2 * SIZE, "jobs": 1}
    assert have(engine, Owner("acme", "key_1")) == {"heads": 1, "examples": 2, "bytes": 2 * SIZE, "jobs": 0}
    assert have(engine, Owner("acme", "key_2")) == {"heads": 1, "examples": 1, "bytes": SIZE, "jobs": 1}
    assert have(engine, Owner("acm")) == {"heads": 1, "examples": 1, "bytes": SIZE, "jobs": 1}
    assert have(engine, Owner("")) == {"heads": 1, "examples": 1, "bytes": SIZE, "jobs": 1}


def test_a_key_that_was_rotated_keeps_its_limits_and_what_it_has(engine):
    moment = database.now()
    first, second, third = (Key(f"key_{n}", "acme", "ci", f"{n}", ("admin",), moment) for n in range(3))
    keys.add(engine, first)
    limits.put(engine, "acme", "key_0", {"heads": 2})
    publish(engine, accept(engine, "acme/cats", "ab", Owner("acme", "key_0")), "acme/cats", "ab")
    for old, new in ((first, second), (second, third)):
        keys.replace(engine, old, replace(new, replaces=old.id), timedelta(hours=1))
    accept(engine, "acme/dogs", "a", Owner("acme", "key_1"))
    assert limits.load(engine, Limits()).of_key("acme", "key_2") == Limits(heads=2)
    assert have(engine, Owner("acme", "key_2")) == {"heads": 2, "examples": 3, "bytes": 2 * SIZE, "jobs": 1}
    assert have(engine, Owner("acme", "key_0")) == {"heads": 1, "examples": 2, "bytes": 2 * SIZE, "jobs": 0}
    keys.revoke(engine, "key_2")
    keys.revoke(engine, "key_2")
    told = [(row["action"], row["what"].get("key"), row["tenant"]) for row in log.page(engine, limit=99)]
    assert [row for row in told if row[0].startswith("key.")] == [
        ("key.create", "key_0", "acme"), ("key.rotate", "key_0", "acme"), ("key.rotate", "key_1", "acme"),
        ("key.revoke", "key_2", "acme"),
    ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("most", "used", "allowed"),
    [
        ({"heads": 1}, 1, ("cats", "cd")),
        ({"examples": 3}, 2, ("cats", "bc")),
        ({"bytes": 3 * SIZE}, 2 * SIZE, ("dogs", "abc")),
        ({"jobs": 2}, 2, None),
    ],
)
def test_more_than_that_is_refused_and_leaves_nothing(engine, most, used, allowed):
    accept(engine, "cats", "ab")
    if allowed:
        jobs.request_cancel(engine, accept(engine, *allowed, **most))
    else:
        accept(engine, "cats", "ab", **most)
    before = have(engine, Owner(""))
    with pytest.raises(QuotaExceeded) as caught:
        accept(engine, "dogs", "cde", **most)
    (name,) = most
    assert (caught.value.quota, caught.value.limit, caught.value.used) == (name, most[name], used)
    assert str(used) in caught.value.message and "would get" in caught.value.message
    assert have(engine, Owner("")) == before
    assert sum(row["action"] == "job.create" for row in log.page(engine, limit=100)) == (2)


def test_whoever_has_too_much_already_may_do_what_adds_nothing(engine):
    publish(engine, accept(engine, "cats", "abc"), "cats", "abc")
    accept(engine, "cats", "ab", heads=0, examples=1, bytes=1)
    with pytest.raises(QuotaExceeded, match="has 3 and would get 1 more"):
        accept(engine, "cats", "d", examples=1)


def test_requests_at_once_do_not_pass_a_quota(engine):
    def one(number):
        try:
            accept(engine, f"acme/head-{number}", "ab", Owner("acme"), heads=5)
            return True
        except QuotaExceeded:
            return False

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(one, range(24))) == 5
    assert have(engine, Owner("acme"))["heads"] == 5


def test_sizes_go_with_the_blobs(engine, tmp_path):
    artifacts = Artifacts(str(tmp_path / "artifacts"))
    publish(engine, accept(engine, "cats", "ab"), "cats", "ab")
    heads.delete(engine, "cats")
    blobs.sweep(engine, artifacts)
    with engine.connect() as connection:
        assert connection.execute(sa.select(blob_sizes)).all() == []


def test_what_is_set_takes_the_place_of_the_default_until_it_is_taken_back(engine):
    default = Limits(heads=10, jobs=3)
    limits.put(engine, "acme", ALL, {"heads": "unlimited", "examples": 5, "requests_per_second": "0.5"})
    limits.put(engine, "acme", "key_1", {"jobs": 1})
    book = limits.load(engine, default)
    assert book.of_tenant("other") == default
    assert book.of_tenant("acme") == Limits(heads=None, examples=5, jobs=3, requests_per_second=0.5)
    assert book.of_key("acme", "key_1") == Limits(jobs=1)
    assert book.of_key("acme", "key_2") == Limits()
    limits.put(engine, "acme", ALL, {"heads": "default", "examples": 6})
    assert limits.load(engine, default).of_tenant("acme") == Limits(10, 6, None, 3, 0.5)


def test_many_that_set_the_same_limit_at_once_take_turns(engine):
    """On replicas, too: one of them is the last, each is in the log, and none fails."""
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda n: limits.put(engine, "acme", "key_1", {"jobs": n, "heads": n}), range(1, 25)))
    found = limits.load(engine, Limits()).of_key("acme", "key_1")
    assert found.jobs == found.heads and found.jobs in range(1, 25)
    assert len(log.page(engine, limit=99)) == 24 and log.page(engine, limit=99)[-1]["what"]["jobs"] == found.jobs
    with engine.connect() as connection:
        assert limits.version(connection) == 24


def test_a_tenants_administrator_cannot_fill_the_memory_of_all_with_limits(engine, monkeypatch):
    monkeypatch.setattr(limits, "MOST_KEYS", 2)
    for name in ("key_1", "key_2", ALL, "key_1"):
        limits.put(engine, "acme", name, {"jobs": 1, "heads": 1})
    with pytest.raises(InvalidInput, match="at most"):
        limits.put(engine, "acme", "key_3", {"jobs": 1})
    limits.put(engine, "other", "key_3", {"jobs": 1})
    limits.put(engine, "acme", "key_2", {"jobs": "default", "heads": "default"})
    limits.put(engine, "acme", "key_3", {"jobs": 1})
    assert set(limits.load(engine, Limits()).overrides) == {
        ("acme", "key_1"), ("acme", ALL), ("acme", "key_3"), ("other", "key_3"),
    }  # fmt: skip


def test_who_has_set_a_quota_is_in_the_audit_log_and_others_notice_the_change(engine):
    with engine.connect() as connection:
        before = limits.version(connection)
    with acting(Actor("", "operator")):
        limits.put(engine, "acme", "key_1", {"jobs": 1})
    with engine.connect() as connection:
        assert limits.version(connection) != before
    (row,) = log.page(engine, limit=9, tenant="acme")
    assert (row["action"], row["principal"], row["what"]) == ("quotas.set", "operator", {"key": "key_1", "jobs": 1.0})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "value"),
    [("heads", -1), ("heads", "many"), ("heads", float("nan")), ("heads", float("inf")), ("cats", 1), ("heads", None),
     ("jobs", True), ("inputs_per_second", 1e-9), ("heads", [1]), ("heads", "9" * 400)],
)  # fmt: skip
def test_what_is_no_quota_is_refused(engine, name, value):
    with pytest.raises(InvalidInput):
        limits.put(engine, "acme", ALL, {name: value})
    assert limits.load(engine, Limits()) == Book()


def test_a_rate_that_was_set_under_its_earlier_name_holds_and_can_be_changed(engine):
    """Rows keep the name `images_per_second`, so a release that knows no other goes by what is set here, too."""
    was = {"tenant": "acme", "key": ALL, "name": "images_per_second", "value": 7.0}
    rows = metadata.tables["quotas"]
    with engine.begin() as connection:
        connection.execute(rows.insert().values(**was))
    assert limits.load(engine, Limits()).of_tenant("acme") == Limits(inputs_per_second=7)
    limits.put(engine, "acme", ALL, {"inputs_per_second": 8})
    assert limits.load(engine, Limits()).of_tenant("acme") == Limits(inputs_per_second=8)
    with engine.connect() as connection:
        assert [row._asdict() for row in connection.execute(sa.select(rows))] == [was | {"value": 8.0}]
    limits.put(engine, "acme", ALL, {"inputs_per_second": "default"})
    assert limits.load(engine, Limits()) == Book()
    with pytest.raises(InvalidInput, match=r"no quota 'images_per_second'; there are: .*inputs_per_second"):
        limits.put(engine, "acme", ALL, {"images_per_second": 1})


def test_a_quota_of_a_newer_release_is_left_alone(engine):
    with engine.begin() as connection:
        row = {"tenant": "acme", "key": "", "name": "gpus", "value": 1.0}
        connection.execute(metadata.tables["quotas"].insert().values(**row))
    assert limits.load(engine, Limits()) == Book(Limits(), {})
