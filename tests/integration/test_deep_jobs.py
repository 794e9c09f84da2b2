"""Jobs that train a backbone's last part with the head: both stages, how they give way, the life of what they make."""

import json
import threading
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from support.services import eventually
from support.teachable import DEEP, QUICK, graph_without_names, left, live, pictures, said
from support.training import Bench

from adapters import finetune as pipeline
from adapters.comparison import versions
from adapters.errors import Cancelled, InvalidInput
from adapters.runtime.heads.head import Head
from adapters.store import checkpoints, events, examples, heads, jobs, leases, reports
from adapters.training.deep import deep_round, outcome
from adapters.training.leaving import Leaving
from adapters.training.progress import Progress
from adapters.training.race.race import RaceResult
from adapters.training.stages import deep, drafting, material, plan
from adapters.training.stages.material import Material
from adapters.training.stages.plan import Plan
from adapters.training.trust import novelty
from adapters.types import Edit, HeadRef, HeadVersion, Job

ENOUGH = 70  # pictures of each class, for a next stage


@pytest.fixture(scope="module")
def taught(shop: Bench) -> HeadVersion:
    """A head with one deep version."""
    return shop.teach("taught", pictures(20), **DEEP)


@pytest.fixture(scope="module")
def staged(shop: Bench) -> Job:
    """The next stage that made version 2 of the head `staged`, of the data of version 1."""
    with pytest.MonkeyPatch.context() as patch:
        _quick(patch)
        _better(patch)
        job = following(shop, "staged")
        assert pipeline.finetune(job.id, shop.shop) == "succeeded"
    return jobs.get(shop.shop.engine, job.id)


@pytest.fixture(scope="module")
def gathered(shop: Bench, staged: Job) -> Material:
    """What that was trained on."""
    asking = shop.job("asking", [], backbone="blocks")  # a job that has ended is asked to stop
    found = material.gather(shop.shop, staged, Progress(shop.shop.engine, asking.id))
    jobs.abandon(shop.shop.engine, asking.id, "cancelled", None)
    return found


@pytest.fixture(scope="module")
def raced(shop: Bench, gathered: Material) -> RaceResult:
    """The shallow winner on that."""
    asking = shop.job("racing", [], backbone="blocks")
    found = material.shallow(gathered, Progress(shop.shop.engine, asking.id))
    jobs.abandon(shop.shop.engine, asking.id, "cancelled", None)
    return found


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounds of `auto` take one epoch."""
    _quick(monkeypatch)


def _quick(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(deep, "_hyperparameters", lambda job: QUICK)


@pytest.fixture
def better(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And pass, whatever the evidence says of so little training."""
    _better(monkeypatch)


def _better(patch: pytest.MonkeyPatch) -> None:
    whole = deep_round.run
    patch.setattr(deep_round, "run", lambda *given, **named: whole(*given, **named | {"always": True}))


@pytest.fixture
def worse(quick: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And have evidence against them."""
    evidence = {"passed": False, "reason": "chance could have done that", "examples": 210}
    declined = outcome.Declined(evidence, [], [], "one cut", 0.1)
    monkeypatch.setattr(deep_round, "run", lambda *given, **named: declined)


def following(shop: Bench, head: str, **request: object) -> Job:
    """The next stage of a job that taught a new head."""
    asked = {"backbone": "blocks", "method": "auto", "deep": "auto", "views": "none"} | request
    job = shop.job(head, pictures(ENOUGH), **asked)
    assert pipeline.finetune(job.id, shop.shop) == "succeeded"
    return jobs.get(shop.shop.engine, jobs.get(shop.shop.engine, job.id).report["deep"]["next"])


# What a deep version is


def test_a_deep_version_says_where_its_backbone_is_cut_and_keeps_what_it_reads(shop, taught):
    manifest, store = taught.manifest, shop.shop.artifacts
    cut = manifest["deep"]["cut"]
    assert (manifest["method"], manifest["reads"], cut["name"]) == ("deep", "tap", "blocks.1")
    assert manifest["inputs"] == {"tap": ["batch", *cut["shape"]]} and cut["share"] < 0.5
    assert manifest["hyperparameters"]["ensemble"] == 0 and "beside" not in manifest["deep"]
    assert manifest["backbone"]["name"] == "blocks" and manifest["parity"]["decisions"] == 60 + 3
    assert store.has(manifest["deep"]["trunk"]) and store.has(manifest["deep"]["whole"])
    assert {"gain", "interval", "passed"} <= manifest["deep"]["evidence"].keys()
    assert manifest["hyperparameters"]["unfreeze"] == "blocks.1" and "mix" in manifest["hyperparameters"]
    graph = Head.from_bytes(heads.stored(store, taught))
    assert graph.metadata["espalier.cut"] == "blocks.1"
    assert graph.metadata["espalier.trunk"] == manifest["deep"]["trunk"]
    assert "blocks.1" in graph.metadata["espalier.reads"]


def test_its_answers_are_probabilities_with_novelty_and_terms_to_abstain_by(shop, taught):
    some = [e for e, _ in examples.of_head(shop.shop.engine, "taught")][:5]
    head = Head.from_bytes(heads.stored(shop.shop.artifacts, taught))
    answers = shop.shop.trunks.said(head, taught, some)
    np.testing.assert_allclose(answers["probabilities"].sum(axis=1), 1, rtol=1e-5)
    assert np.isfinite(answers["novelty"]).all() and (answers["novelty"] >= 0).all()
    assert taught.manifest["trust"]["options"] == ["coverage", "abstain"]


def test_its_novelty_is_told_by_tails_that_had_not_seen_the_examples(shop, monkeypatch):
    """Of as many examples as it was measured on."""
    given: list[tuple] = []
    whole = novelty.fit
    monkeypatch.setattr(novelty, "fit", lambda *asked: given.append(asked) or whole(*asked))
    job = shop.job("told", pictures(60), **DEEP | {"hyperparameters": QUICK | {"mix": 1}})
    assert pipeline.finetune(job.id, shop.shop) == "succeeded"
    version = heads.resolve(shop.shop.engine, HeadRef("told"))
    assert sum(len(each.distances) for each in given[-1][-1]) == version.manifest["trust"]["held_out"] > 0


def test_its_report_has_losses_by_epoch_and_what_was_tried(shop, taught):
    report = reports.load(shop.shop.engine, shop.shop.artifacts, taught)
    found = report["deep"]
    assert found["cut"]["name"] == found["losses"]["cut"] == "blocks.1"
    assert [row["epoch"] for row in found["losses"]["epochs"]] == [1] and found["losses"]["best"] == 1
    assert found["losses"]["meaning"] and found["table"][0]["loss"] <= found["table"][-1]["loss"]
    assert report["winner"]["method"] == "deep"
    (job,) = jobs.list_page(shop.shop.engine, limit=1, head="taught")
    assert job.report["deep"]["stage"] == "deep" and job.report["deep"]["of"] is None
    epochs = [e for e in events.news(shop.shop.engine, {job.id: 0})[job.id].events if e["type"] == "epoch"]
    assert epochs and {"fit", "epoch", "train_loss"} <= epochs[0]["data"].keys()
    assert not left(shop, job.id)


def test_its_learning_curve_is_that_of_the_races_winner_and_says_so(shop, taught):
    """The very one of a head that is taught the same without the backbone."""
    shallow = shop.teach("frozen", pictures(20), backbone="blocks", method="auto")
    deep, alone = (reports.load(shop.shop.engine, shop.shop.artifacts, v)["curve"] for v in (taught, shallow))
    assert deep["of"] == "shallow" and len(deep["points"]) == 3 and deep == alone | {"of": "shallow"}


@pytest.mark.slow
def test_it_says_how_many_examples_its_figures_are_from(gathered, raced):
    said = drafting._explained(gathered.divided, replace(raced, index=raced.index[:50])).explanation
    assert said == f"{gathered.divided.explanation} The deep version was measured on 50 of them."
    assert drafting._explained(gathered.divided, raced) is gathered.divided


def test_a_cut_that_is_not_there_fails_the_job_with_those_that_are(shop):
    job = shop.job("nowhere", pictures(10), **DEEP | {"hyperparameters": {"unfreeze": "blocks.9"}})
    with pytest.raises(InvalidInput, match=r"blocks\.0, blocks\.1"):
        pipeline.finetune(job.id, shop.shop)
    jobs.abandon(shop.shop.engine, job.id, "failed", None)


# Two stages


def test_the_next_stage_replaces_the_shallow_version_through_the_gate(shop, staged):
    first, second = (heads.resolve(shop.shop.engine, HeadRef("staged", version=n)) for n in (1, 2))
    assert "deep" not in first.manifest and second.manifest["deep"]["cut"]["name"] == "blocks.1"
    assert second.manifest["gate"]["against"] == 1 and second.manifest["gate"]["examples"] == 210
    assert jobs.get(shop.shop.engine, staged.id).report["deep"]["of"] == staged.request.of
    curve, before = (
        reports.load(shop.shop.engine, shop.shop.artifacts, version)["curve"] for version in (second, first)
    )
    assert curve == before | {"of": "shallow", "of_version": 1}
    assert [job.id for job in jobs.list_page(engine=shop.shop.engine, limit=9, head="staged")] == [
        staged.id, staged.request.of,
    ]  # fmt: skip
    compared = versions.compare(first, second, shop.shop.engine, shop.shop.trunks, 5)
    assert compared["examples"] == 210 and compared["skipped"] == 0 and compared["forgetting"] is None


@pytest.mark.slow
def test_a_next_stage_that_proves_no_better_makes_no_version_and_says_why(shop, worse):
    job = following(shop, "declined")
    assert pipeline.finetune(job.id, shop.shop) == "rejected"
    ended = jobs.get(shop.shop.engine, job.id)
    assert (ended.status, ended.version) == ("rejected", None)
    assert ended.report["deep"]["why"] == "chance could have done that"
    assert [v.number for v in heads.summary(shop.shop.engine, "declined").versions] == [1]
    assert jobs.is_settled(shop.shop.engine, job.id) and not left(shop, job.id)


@pytest.mark.parametrize(
    ("asked", "deep_now", "expected"),
    [
        ({"method": "prototype"}, False, Plan(why="method=prototype was asked for; deep=only trains deeper from it")),
        ({"budget": 1.0}, False, Plan(why="a budget of 1 s is for the race; a deep round wants 30 s or deep=only")),
        ({"budget": 1.0}, True, Plan(why="a budget of 1 s is for the race; a deep round wants 30 s or deep=only")),
        ({"budget": 30.0}, True, Plan(now=True, why="the live version is deep")),
        ({"deploy": "manual"}, False, Plan(why="deploy=manual puts no version live that a deeper one could replace")),
        ({"deep": "never"}, True, Plan()),
        ({"deep": "only", "method": "prototype", "budget": 1.0}, False, Plan(now=True, always=True)),
        ({"of": "job_1"}, True, Plan(now=True)),
        ({"of": "job_1", "budget": 1.0}, False, Plan(now=True)),
        ({}, True, Plan(now=True, why="the live version is deep")),
        ({"deploy": "always"}, True, Plan(now=True, why="the live version is deep")),
    ],
)
def test_whether_to_train_deep_now_later_or_not_is_said_with_the_reason(
    shop, gathered, raced, asked, deep_now, expected
):
    request = replace(gathered.job.request, **{"deep": "auto", "of": None} | asked)
    of = replace(gathered, job=replace(gathered.job, request=request))
    found = heads.resolve(shop.shop.engine, HeadRef("staged", version=2 if deep_now else 1))
    assert plan.of(of, raced, found) == expected


def test_enough_data_and_a_version_that_goes_live_are_a_reason_to_try_later_and_too_few_are_none(gathered, raced):
    of = replace(gathered, job=replace(gathered.job, request=replace(gathered.job.request, of=None)))
    assert plan.of(of, raced, None).later
    rich = replace(of, job=replace(of.job, request=replace(of.job.request, budget=60.0)))
    assert plan.of(rich, raced, None).later
    few = replace(of, divided=replace(of.divided, train=of.divided.train[:150]))
    assert not plan.of(few, raced, None).later and "200 examples" in plan.of(few, raced, None).why


def test_where_next_to_nothing_is_wrong_there_is_no_room_for_a_next_stage(gathered, raced):
    of = replace(gathered, job=replace(gathered.job, request=replace(gathered.job.request, of=None)))
    right = np.eye(len(of.classes), dtype=np.float32)[of.targets["class"][raced.index]]
    right[:4] = np.roll(right[:4], 1, axis=1)
    found = plan.of(of, replace(raced, outputs={"probabilities": right}), None)
    assert not found.later and found.why.startswith("the shallow version errs on 4 of ")
    right[4:5] = np.roll(right[4:5], 1, axis=1)
    assert plan.of(of, replace(raced, outputs={"probabilities": right}), None).later


def test_what_does_not_ask_for_it_says_nothing_of_it(shop):
    job = shop.job("never", pictures(20), backbone="blocks", method="auto")
    pipeline.finetune(job.id, shop.shop)
    assert "deep" not in jobs.get(shop.shop.engine, job.id).report


# Giving way, going on, stopping


@pytest.mark.slow
def test_a_next_stage_gives_way_and_goes_on_to_the_very_version_that_it_would_have_made(
    shop, staged, better, monkeypatch
):
    """Left in the middle of a fit for a job that somebody waits for: the same graph, bit for bit."""
    job = following(shop, "parts")
    steps, watch = [0], deep._Watch.__call__

    def impatient(self: object, state: object) -> None:
        steps[0] += 1
        if steps[0] == 25:  # of a fit, not of what can be done again
            self._keep(state)
            raise leases.GaveWay("")
        watch(self, state)

    monkeypatch.setattr(deep._Watch, "__call__", impatient)
    with pytest.raises(leases.GaveWay):
        pipeline.finetune(job.id, shop.shop)
    assert (shop.shop.folder / job.id).exists()
    assert pipeline.finetune(job.id, shop.shop) == "succeeded"
    whole = heads.resolve(shop.shop.engine, HeadRef("staged", version=2))
    assert graph_without_names(shop, live(shop, "parts")) == graph_without_names(shop, whole)


@pytest.mark.slow
def test_it_gives_way_to_a_job_that_still_waits_at_the_second_look(shop, better, monkeypatch):
    job = following(shop, "polite")
    monkeypatch.setattr(deep, "LOOK", 0.0)
    other = shop.job("other", pictures(5), backbone="blocks")
    with pytest.raises(leases.GaveWay):
        pipeline.finetune(job.id, shop.shop)
    pipeline.finetune(other.id, shop.shop)
    assert pipeline.finetune(job.id, shop.shop) == "succeeded"


@pytest.mark.slow
def test_a_worker_that_is_told_to_stop_keeps_what_it_has_reached_and_the_next_one_makes_the_very_same_version(
    shop, monkeypatch
):
    """In the middle of an epoch, long before a checkpoint would have been due."""
    whole = shop.teach("whole", pictures(20), **DEEP)
    job, stops, steps, watch = shop.job("stopped", pictures(20), **DEEP), Leaving(), [0], deep._Watch.__call__

    def told(self: object, state: object) -> None:
        steps[0] += 1
        if steps[0] == 5:
            threading.Thread(target=stops.ask, args=(60,)).start()
            eventually(lambda: bool(stops))
        watch(self, state)

    monkeypatch.setattr(deep._Watch, "__call__", told)
    with pytest.raises(leases.GaveWay):
        pipeline.finetune(job.id, replace(shop.shop, leaving=stops))
    assert checkpoints.find(shop.shop.engine, shop.shop.scratch(job.id), job.id) is not None
    assert pipeline.finetune(job.id, shop.shop) == "succeeded"
    assert graph_without_names(shop, live(shop, "stopped")) == graph_without_names(shop, whole)


def test_nobody_waits_for_a_worker_that_trains_nothing_deep():
    stops = Leaving()
    stops.ask(3600)
    assert stops


def test_a_checkpoint_that_takes_long_is_not_made_while_somebody_waits(shop, monkeypatch):
    watch = deep._Watch(replace(shop.shop, leaving=Leaving()), shop.job("slow", []), None)
    watch._cost, watch._progress = 2.0, SimpleNamespace(cancelled=lambda: None)
    watch._context.leaving.ask(0)
    with pytest.raises(leases.GaveWay):
        watch(lambda: pytest.fail("it was made"))
    jobs.abandon(shop.shop.engine, watch._job.id, "cancelled", None)


def test_a_job_that_asked_for_it_gives_way_to_nobody(shop, monkeypatch):
    monkeypatch.setattr(deep, "LOOK", 0.0)
    shop.job("waits", pictures(5), backbone="blocks")
    shop.teach("stubborn", pictures(10), **DEEP)


@pytest.mark.slow
def test_cancelling_stops_it_at_its_next_step_and_leaves_nothing(shop, monkeypatch):
    job = shop.job("cancelled", pictures(20), **DEEP)
    keep = deep._Watch._keep
    monkeypatch.setattr(deep, "OFTEN", 0.0)
    monkeypatch.setattr("adapters.training.progress.INTERVAL", 0.0)

    def kept(self: object, state: object) -> None:
        keep(self, state)
        jobs.request_cancel(shop.shop.engine, job.id)

    monkeypatch.setattr(deep._Watch, "_keep", kept)
    before = {blob.name for blob in shop.shop.artifacts.list()}
    with pytest.raises(Cancelled):
        pipeline.finetune(job.id, shop.shop)
    shop.shop.let_go(job.id)
    assert {blob.name for blob in shop.shop.artifacts.list()} <= before
    shop.teach("sweeps", pictures(10), **DEEP)  # whoever comes next deletes what is left on the disk
    assert not (shop.shop.folder / job.id).exists()


# The life of a deep version


def test_a_deep_head_stays_deep_when_it_learns_more_in_one_job(shop, staged, better):
    before = live(shop, "staged")
    job = shop.job("staged", pictures(10, first=200), backbone="blocks", method="auto", deep="auto")
    assert pipeline.finetune(job.id, shop.shop) == "succeeded"
    after = live(shop, "staged")
    assert "deep" in after.manifest and after.manifest["gate"]["against"] == before.number
    assert jobs.get(shop.shop.engine, job.id).report["deep"]["stage"] == "deep"
    # Of the new examples the version before learned none: it was asked about them through its trunk.
    compared = versions.compare(before, after, shop.shop.engine, shop.shop.trunks, 5)
    assert compared["examples"] == 240 and compared["skipped"] == 0


def test_other_names_change_no_answer(shop, taught):
    some = [e for e, _ in examples.of_head(shop.shop.engine, "taught")][:5]
    before = said(shop, taught, some)
    edit = Edit(rename={"down": "upright"})
    renamed = shop.teach("taught", [], **DEEP | {"edit": edit, "deploy": "always"})
    assert renamed.number == taught.number + 1 and "upright" in renamed.manifest["classes"]
    np.testing.assert_array_equal(said(shop, renamed, some), before)
    store = shop.shop.artifacts
    labels = json.loads(Head.from_bytes(heads.stored(store, renamed)).metadata["labels"])
    assert labels == renamed.manifest["classes"]
