"""Roll-outs in the database: counted by many, decided once, and ended by whatever else happens to the head."""

import concurrent.futures
from dataclasses import replace

import pytest
from sqlalchemy.engine import Engine

from adapters.errors import Conflict, HeadNotFound, RolloutNotFound, VersionNotFound
from adapters.rollout.facts import Asked, Counts, Limits, Rollout, Rules
from adapters.store import heads, jobs, publishing
from adapters.store.publishing import Publication
from adapters.store.rollouts import control, rows
from adapters.types import HeadRef, JobRequest

GUARD = Rules(roll_back_when=Limits(20, errors=0.02))
GOOD, BAD = Counts(Asked(100), Asked(100), 300), Counts(Asked(100), Asked(100, errors=60))


def publish(engine: Engine, head: str = "cats", *, deploy: str = "manual", **changes: object) -> int:
    """A version; with deploy="auto" it goes live."""
    request = JobRequest(head, deploy=deploy)
    job = jobs.create(engine, request, [], fingerprint="")
    status = {"rejected": bool(changes.pop("rejected", False)), "retired": changes.pop("retired", ())}
    manifest = {"task": "classification", "backbone": {"digest": "b"}, "trust": {"novelty": {}}} | changes
    live = heads.find_live(engine, head)
    digest = f"{head}{job.id}".ljust(64, "0")[:64]
    made = Publication(job.id, request, digest, manifest, {}, {}, [], expected_live=live and live.number, **status)
    return publishing.publish(engine, made)


def wanted(version: int, **changes: object) -> Rollout:
    """What an owner asks for."""
    return replace(Rollout("", "cats", version, 0, "canary", 0.1, GUARD), **changes)


def live(engine: Engine, head: str = "cats") -> int:
    return heads.resolve(engine, HeadRef(head)).number


@pytest.fixture
def pair(engine):
    """A head whose version 1 is live, and a candidate 2."""
    assert (publish(engine, deploy="auto"), publish(engine)) == (1, 2)
    return engine


def types(engine: Engine) -> list[str]:
    return [event["type"] for event in rows.events(engine, "cats")]


@pytest.mark.slow
def test_a_rollout_begins_counts_and_is_followed(pair):
    before = heads.current_generation(pair)
    started, generation = control.begin(pair, wanted(2))
    assert generation == before + 1 and heads.changed_since(pair, before) == (generation, {"cats"})
    assert (started.base, started.status, rows.running(pair, "cats").id) == (1, "running", started.id)
    assert control.add(pair, "cats", started.id, GOOD) and control.add(pair, "cats", started.id, Counts(dropped=3))
    assert rows.last(pair, "cats").counts == replace(GOOD, dropped=3)
    assert control.decide(pair, "cats", started.id) is None and types(pair) == ["started"]


def test_asked_for_again_it_goes_on_and_any_other_begins_anew(pair):
    started, generation = control.begin(pair, wanted(2))
    control.add(pair, "cats", started.id, GOOD)
    same, unmoved = control.begin(pair, wanted(2))
    assert (same.id, same.counts, unmoved) == (started.id, GOOD, generation)
    other, _ = control.begin(pair, wanted(2, weight=0.5))
    assert other.id != started.id and rows.last(pair, "cats").counts == Counts()
    assert not control.add(pair, "cats", started.id, GOOD), "what is late counts for nothing"
    assert types(pair) == ["started", "stopped", "started"]


def test_a_bad_candidate_is_rolled_back_with_the_evidence_in_an_event(pair):
    started, generation = control.begin(pair, wanted(2))
    control.add(pair, "cats", started.id, BAD)
    assert control.decide(pair, "cats", started.id) == "rolled_back"
    assert live(pair) == 1 and rows.running(pair, "cats") is None
    ended = rows.events(pair, "cats")[-1]
    assert ended["type"] == "rolled_back" and ended["data"]["counts"]["candidate"]["errors"] == 60
    assert ended["data"]["evidence"]["errors"]["low"] > 0.02 and "surely above 0.02" in ended["data"]["reason"]
    assert heads.current_generation(pair) == generation + 1
    assert control.decide(pair, "cats", started.id) is None and not control.add(pair, "cats", started.id, BAD)


def test_a_good_candidate_is_promoted(pair):
    started, _ = control.begin(pair, wanted(2, rules=Rules(Limits(100, disagreement=0.1))))
    control.add(pair, "cats", started.id, GOOD)
    assert control.decide(pair, "cats", started.id) == "promoted"
    assert live(pair) == 2 and rows.last(pair, "cats").status == "promoted"


def test_many_count_at_once_and_one_of_them_decides(pair):
    """Nothing is counted twice or lost, and there is one event of the end."""
    started, generation = control.begin(pair, wanted(2))

    def work(_: int) -> str | None:
        control.add(pair, "cats", started.id, Counts(Asked(5), Asked(5)))
        return None

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(40)))
        assert rows.last(pair, "cats").counts == Counts(Asked(200), Asked(200))
        control.add(pair, "cats", started.id, Counts(candidate=Asked(200, errors=150)))
        found = list(pool.map(lambda _: control.decide(pair, "cats", started.id), range(16)))
    assert [one for one in found if one] == ["rolled_back"] and types(pair) == ["started", "rolled_back"]
    assert heads.current_generation(pair) == generation + 1


def test_whoever_moves_live_has_decided(pair):
    third = publish(pair)
    for number, status in ((third, "stopped"), (2, "promoted")):
        heads.set_alias(pair, "cats", "live", 1)
        control.begin(pair, wanted(2))
        heads.set_alias(pair, "cats", "live", 1)
        heads.set_alias(pair, "cats", "canary", 2)
        assert rows.running(pair, "cats") is not None, "nothing that is live has moved"
        heads.set_alias(pair, "cats", "live", number)
        assert rows.last(pair, "cats").status == status and live(pair) == number
    heads.set_alias(pair, "cats", "live", 1)
    control.begin(pair, wanted(2))
    heads.delete_alias(pair, "cats", "live")
    assert rows.last(pair, "cats").status == "stopped"


def test_a_job_whose_version_goes_live_ends_it_and_one_that_does_not_leaves_it(pair):
    control.begin(pair, wanted(2))
    publish(pair)
    assert rows.running(pair, "cats") is not None
    newest = publish(pair, deploy="auto")
    ended = rows.last(pair, "cats")
    assert ended.status == "stopped" and f"another version, {newest}" in ended.reason


def test_who_moved_live_and_knew_nothing_of_rollouts_is_noticed(pair):
    """A replica of the release before."""
    started, _ = control.begin(pair, wanted(2))
    third = publish(pair)
    with pair.begin() as connection:
        heads.swap(connection, "cats", "live", third, 1)
    control.add(pair, "cats", started.id, GOOD)
    assert control.decide(pair, "cats", started.id) == "stopped" and live(pair) == third


def test_a_candidate_is_not_deleted_under_it_and_a_head_is(pair):
    control.begin(pair, wanted(2))
    with pytest.raises(Conflict, match="DELETE /heads/cats/rollout"):
        heads.delete_version(pair, "cats", 2)
    control.stop(pair, "cats")
    heads.delete_version(pair, "cats", 2)
    assert rows.last(pair, "cats") is None and types(pair) == ["started", "stopped"]
    control.begin(pair, wanted(publish(pair)))
    heads.delete(pair, "cats")
    assert rows.last(pair, "cats") is None and types(pair) == []


def test_unlearning_ends_it_where_the_candidate_knew_the_example(pair):
    control.begin(pair, wanted(2))
    newest = publish(pair, retired=(2,))
    assert rows.running(pair, "cats") is None and types(pair) == ["started", "stopped"]
    assert "knew examples that were taken back" in rows.events(pair, "cats")[-1]["data"]["reason"]
    control.begin(pair, wanted(newest))
    last = publish(pair, retired=(1,))
    assert rows.last(pair, "cats").status == "stopped" and live(pair) == last


@pytest.mark.slow
@pytest.mark.parametrize(
    ("changes", "options", "why"),
    [
        ({"rejected": True}, {}, "shadow, without promote_when"),
        ({"backbone": {"digest": "other"}}, {"mode": "shadow", "weight": 1.0}, "mode=canary"),
        ({"backbone": {"digest": "other"}}, {"rules": Rules(Limits(1, disagreement=0.1))}, "limits of disagreement"),
        ({"trust": {}}, {"rules": Rules(Limits(1, novelty=0.1))}, "limits of it"),
        ({"task": "multilabel"}, {}, "another task"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_fix(pair, changes, options, why):
    number = publish(pair, **changes)
    with pytest.raises(Conflict, match=why):
        control.begin(pair, wanted(number, **options))
    assert rows.last(pair, "cats") is None


def test_what_is_not_there_is_said(pair):
    with pytest.raises(Conflict, match="is live already"):
        control.begin(pair, wanted(1))
    with pytest.raises(VersionNotFound):
        control.begin(pair, wanted(9))
    with pytest.raises(HeadNotFound):
        control.begin(pair, wanted(1, head="dogs"))
    with pytest.raises(HeadNotFound):
        control.stop(pair, "dogs")
    with pytest.raises(RolloutNotFound):
        control.stop(pair, "cats")
    heads.delete_alias(pair, "cats", "live")
    with pytest.raises(Conflict, match="no live version"):
        control.begin(pair, wanted(2))


def test_rejected_versions_may_be_asked_in_the_shadow(pair):
    number = publish(pair, rejected=True)
    started, _ = control.begin(pair, wanted(number, mode="shadow", weight=1.0))
    assert started.mode == "shadow"


@pytest.mark.slow
def test_events_of_a_head_are_bounded(pair):
    for n in range(rows.KEPT):
        control.begin(pair, wanted(2, weight=0.1 + n / 1000))
    assert len(rows.events(pair, "cats")) == rows.KEPT
