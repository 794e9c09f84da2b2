"""Whoever moves `live` or rolls a version out has decided what is served: no next stage undoes that."""

import threading
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from support.databases import empty
from support.next_stages import accept, claim, done, publication
from support.services import eventually

from adapters.errors import Cancelled
from adapters.rollout.facts import Asked, Counts, Limits, Rollout, Rules
from adapters.store import database, heads, jobs, leases, next_stages, publishing
from adapters.store.rollouts import control, rows
from adapters.store.schema import aliases, versions
from adapters.store.schema import heads as head_table
from adapters.store.schema import jobs as table
from adapters.types import HeadRef, Job, JobRequest

RULES = Rules(promote_when=Limits(20, errors=0.5), roll_back_when=Limits(20, errors=0.9))
GOOD = Counts(Asked(1000), Asked(1000), 1000)


def staged(engine: Engine) -> Job:
    """A head whose versions 1 and 2 were live in turn, 3 never was; the next stage of 2 waits."""
    done(engine, accept(engine), next=None)
    following = done(engine, accept(engine), live=1)["next"]
    manual = jobs.create(engine, JobRequest("cats", deploy="manual"), [], fingerprint="f")
    lease = claim(engine)
    made = publication(manual, 2, next=None)
    with engine.begin() as connection:  # of the same data, as a copy or a version of before would be
        publishing._insert_version(connection, made)
        jobs.finish(connection, lease.job_id, "succeeded")
        jobs.let_go(connection, lease.job_id)
    return jobs.get(engine, following)


def rolls_out(engine: Engine) -> None:
    control.begin(engine, Rollout("", "cats", 3, 0, "canary", 0.5, RULES))


def promotes(engine: Engine) -> None:
    """By its rules; whoever began it knew of no next stage."""
    found = rows.running(engine, "cats")
    control.add(engine, "cats", found.id, GOOD)
    assert control.decide(engine, "cats", found.id) == "promoted"


DECISIONS: dict[str, Callable[[Engine], object]] = {
    "was pointed at version 1 by its owner": lambda engine: heads.set_alias(engine, "cats", "live", 1),
    "@live was removed": lambda engine: heads.delete_alias(engine, "cats", "live"),
    "a roll-out of version 3 began": rolls_out,
}


def is_live(engine: Engine) -> int | None:
    found = heads.find_live(engine, "cats")
    return found and found.number


@pytest.mark.slow
@pytest.mark.parametrize("why", DECISIONS)
@pytest.mark.parametrize("at_work", [False, True])
def test_the_next_stage_of_a_version_ends_with_what_its_owner_decides(engine, why, at_work):
    """Whether it waits or somebody trains it; it says why, and what the owner wants is served."""
    following = staged(engine)
    lease = claim(engine) if at_work else None
    DECISIONS[why](engine)
    ended, served = jobs.get(engine, following.id), is_live(engine)
    assert ended.status == "cancelled" and why in ended.report["deep"]["why"]
    assert ended.report["deep"]["of"] == following.request.of
    if lease is not None:
        with pytest.raises(Cancelled):
            publishing.publish(leases.fenced(engine, lease), publication(following, served, next=None))
    assert is_live(engine) == served
    running = rows.running(engine, "cats")
    assert (running is not None) == ("roll-out" in why)


@pytest.mark.slow
@pytest.mark.parametrize("why", [*DECISIONS, "promoted"])
def test_a_next_stage_that_nobody_ended_publishes_nothing_either(engine, why, monkeypatch):
    """As where a process of the release before made the decision, which knew nothing of that."""
    following = staged(engine)
    lease = claim(engine)
    monkeypatch.setattr(next_stages, "supersede", lambda *_, **__: [])
    DECISIONS.get(why, rolls_out)(engine)
    if why == "promoted":
        promotes(engine)
    served, running = is_live(engine), rows.running(engine, "cats")
    with pytest.raises(Cancelled):
        publishing.publish(leases.fenced(engine, lease), publication(following, served, next=None))
    ended = jobs.get(engine, following.id)
    told = "a roll-out of cats is under way" if "began" in why else "is no longer the version of the job"
    assert ended.status == "cancelled" and told in ended.report["deep"]["why"]
    assert (is_live(engine), rows.running(engine, "cats")) == (served, running)
    assert [version.number for version in heads.summary(engine, "cats").versions] == [3, 2, 1]


def test_a_roll_out_that_puts_its_version_live_ends_a_next_stage(engine, monkeypatch):
    following = staged(engine)
    with monkeypatch.context() as patch:
        patch.setattr(next_stages, "supersede", lambda *_, **__: [])
        rolls_out(engine)
    promotes(engine)
    assert "a roll-out put version 3 live" in jobs.get(engine, following.id).report["deep"]["why"]


def test_what_moves_nothing_and_other_aliases_leave_it_alone(engine):
    following = staged(engine)
    heads.set_alias(engine, "cats", "live", 2)
    heads.set_alias(engine, "cats", "best", 1)
    heads.delete_alias(engine, "cats", "best")
    assert jobs.get(engine, following.id).status == "queued"
    lease = claim(engine)
    assert publishing.publish(leases.fenced(engine, lease), publication(following, 2, next=None)) == 4
    assert is_live(engine) == 4


def test_other_names_for_a_version_make_the_next_stage_theirs(engine):
    """It publishes in the place of the renamed version, which is of another job than the one that was taught."""
    done(engine, accept(engine))
    following = jobs.get(engine, done(engine, accept(engine), live=1, instead=True)["next"])
    old = claim(engine)
    jobs.abandon(engine, old.job_id, "cancelled", None)
    lease = claim(engine)
    assert lease.job_id == following.id
    assert publishing.publish(leases.fenced(engine, lease), publication(following, 2, next=None)) == 3
    assert is_live(engine) == 3


# On Postgres, where transactions run side by side


@pytest.fixture
def side_by_side(postgres: str) -> Iterator[Engine]:
    engine = database.connect(postgres)
    empty(engine)
    database.migrate(engine)
    yield engine
    empty(engine)
    engine.dispose()


def publishes(engine: Engine) -> None:
    job = accept(engine)
    publishing.publish(engine, publication(job, 2))


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("change", [publishes, *DECISIONS.values()])
def test_whoever_ends_a_next_stage_waits_for_it_before_it_holds_anything_else(side_by_side, change):
    """A next stage that publishes holds its row and wants the head's: neither may wait for the other."""
    following = staged(side_by_side)
    with side_by_side.begin() as publishing_it:
        publishing_it.execute(sa.select(table.c.id).where(table.c.id == following.id).with_for_update())
        other = threading.Thread(target=change, args=(side_by_side,))
        other.start()
        eventually(lambda: waits(side_by_side))
        for rows_of in (head_table.c.name, versions.c.head, aliases.c.head):
            wanted = sa.select(rows_of).where(rows_of == "cats").with_for_update(nowait=True)
            assert publishing_it.execute(wanted).first() is not None
    other.join(30)
    assert not other.is_alive() and jobs.get(side_by_side, following.id).status == "cancelled"
    assert heads.resolve(side_by_side, HeadRef("cats", version=1))


def waits(engine: Engine) -> bool:
    """Whether a transaction waits for another."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with database.reading(engine) as connection:
        return bool(connection.execute(sa.text(query)).scalar())
