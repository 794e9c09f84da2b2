"""Heads that are taught with keep_examples=false: what goes, what stays, and how more is added to them."""

import json

import numpy as np
import pytest
import sqlalchemy as sa
from support import forms, teachable
from support.teachable import CLASSES, live, pictures
from support.training import Bench

from adapters import finetune as pipeline
from adapters.comparison import out_of_fold
from adapters.errors import ExamplesNotKept, InvalidInput, NotEnoughData
from adapters.runtime.heads.head import Head
from adapters.store import capabilities, examples, heads, jobs, keeping, leases, reports
from adapters.store.schema import embeddings, job_examples
from adapters.training import programs
from adapters.training.deep import interpreter
from adapters.training.deep.trial import Journal
from adapters.training.publish import deep_export
from adapters.training.stages import deep
from adapters.types import Edit, HeadRef, HeadVersion, Job, JobRequest
from service.intake.submissions import Submissions
from service.settings import Settings

QUICK = {"epochs": 2, "unfreeze": "blocks.1"}
GOES = {"backbone": "blocks", "method": "deep", "deep": "only", "hyperparameters": QUICK, "keep_examples": False}
FIRST, LATER = ("across", "down"), tuple(CLASSES)


@pytest.fixture(scope="module")
def first(shop: Bench) -> HeadVersion:
    """A deep version of two classes whose examples have gone."""
    well = {"hyperparameters": QUICK | {"epochs": 15, "learning_rate": 0.01}}
    return shop.teach("gone", pictures(40, classes=FIRST), **GOES | well)


@pytest.fixture(scope="module")
def grown(shop: Bench, first: HeadVersion) -> HeadVersion:
    """The same head, once it has learned a third class from few of the others and one that it knew."""
    sent = [*pictures(15, first=300, classes=LATER), *pictures(1, classes=FIRST)[:1]]
    return shop.teach("gone", sent, **GOES)


def left(shop: Bench, head: str) -> dict[str, int]:
    """What there still is of what a head was sent."""
    shas = [p.example.sha256 for p in pictures(40, classes=FIRST)]
    with shop.shop.engine.connect() as connection:
        cached = connection.execute(sa.select(sa.func.count()).where(embeddings.c.sha256.in_(shas))).scalar_one()
        waiting = connection.execute(sa.select(sa.func.count()).select_from(job_examples)).scalar_one()
    stored = sum(shop.shop.artifacts.has(sha) for sha in shas)
    return {"held": len(examples.of_head(shop.shop.engine, head)), "stored": stored, "cached": cached,
            "of jobs": waiting}  # fmt: skip


@pytest.mark.slow
def test_bytes_and_embeddings_go_and_hashes_and_held_out_answers_stay(shop, first):
    assert left(shop, "gone") == {"held": 0, "stored": 0, "cached": 0, "of jobs": 0}
    assert live(shop, "gone").number == first.number and first.manifest["data"]["kept"] is False
    assert first.manifest["data"]["examples"] == 80
    assert len(out_of_fold.remembered(first, shop.shop.artifacts)) == 80
    assert reports.load(shop.shop.engine, shop.shop.artifacts, first)["findings"]


def test_what_another_head_was_sent_too_stays_with_that(shop):
    sent = pictures(12, first=100)
    shop.teach("keeps", sent, method="prototype", backbone="blocks")
    shop.teach("lets-go", sent, method="prototype", backbone="blocks", keep_examples=False)
    assert len(examples.of_head(shop.shop.engine, "keeps")) == 36
    assert not examples.of_head(shop.shop.engine, "lets-go")
    assert all(shop.shop.artifacts.has(p.example.sha256) for p in sent)


def test_another_tenants_embeddings_of_the_same_pictures_stay_that_tenants(shop):
    sent = pictures(4, first=150)
    asked = {"method": "prototype", "backbone": "blocks"}
    shop.teach("theirs/same", sent, **asked)
    shop.teach("ours/same", sent, **asked, keep_examples=False)
    with shop.shop.engine.connect() as connection:
        mine = embeddings.c.sha256.in_([p.example.sha256 for p in sent])
        whose = set(connection.execute(sa.select(embeddings.c.backbone).where(mine)).scalars())
    assert {one.split("/")[0] for one in whose} == {"theirs"} and not examples.of_head(shop.shop.engine, "ours/same")


def test_a_version_that_loses_takes_nothing_with_it(shop, monkeypatch):
    shop.teach("stays", pictures(12, first=100), method="prototype", backbone="blocks")
    lost = {"passed": False, "reason": "worse", "examples": 9, "against": 1}
    monkeypatch.setattr("adapters.training.publish.champion.compare", lambda *_: lost)
    job = shop.job("stays", pictures(4, first=200), method="prototype", backbone="blocks", keep_examples=False)
    assert pipeline.finetune(job.id, shop.shop) == "rejected"
    assert len(examples.of_head(shop.shop.engine, "stays")) == 36 and not keeping.have_gone(shop.shop.engine, "stays")


def test_the_tail_that_is_gone_on_from_is_that_of_the_version(shop, first):
    """The trained tail out of the version's graph, and its head's program, say what the version says, bit for bit."""
    store = shop.shop.artifacts
    graph, deep = heads.stored(store, first), first.manifest["deep"]
    tail, program = deep_export.tail_of(graph, 12), programs.from_bytes(store.get(deep["program"]))
    shape = deep["cut"]["shape"]
    taps = np.random.default_rng(0).normal(size=(5, *shape)).astype(np.float32)
    said = programs.run(program, interpreter.run(tail, taps))
    np.testing.assert_allclose(said, Head.from_bytes(graph).answer(taps).arrays["probabilities"], atol=1e-5)


def test_what_is_added_goes_on_from_the_live_version_and_says_what_became_of_earlier_classes(shop, first, grown):
    lost = grown.manifest["gate"]["forgetting"]
    report = jobs.list_page(shop.shop.engine, limit=1, head="gone")[0].report
    assert report["deep"]["begun_at"] == first.number and grown.manifest["classes"] == sorted(LATER)
    assert lost["added"] == ["slanted"] and lost["examples"] == 30 and 0 <= lost["after"] <= 1
    assert lost["kept"]["examples"] == 80 and "earlier classes" in lost["meaning"]
    assert grown.manifest["hyperparameters"]["stay"] > 0
    assert not examples.of_head(shop.shop.engine, "gone")


def test_it_knows_the_earlier_classes_better_than_a_head_made_of_what_came_alone(shop, first, grown):
    """Few came of them: what it knows of them besides can only be from the version before."""
    fresh = [p.example for p in pictures(60, first=600, classes=FIRST)]
    for p in pictures(60, first=600, classes=FIRST):
        shop.shop.artifacts.put(p.data)
    alone = shop.teach("alone", pictures(15, first=300, classes=LATER), **GOES)
    right = {}
    for version in (grown, alone):
        said = teachable.said(shop, version, fresh).argmax(axis=1)
        names = [version.manifest["classes"][n] for n in said]
        right[version.head] = np.mean([name == e.label for name, e in zip(names, fresh, strict=True)])
    assert right["gone"] > right["alone"]


def test_what_an_earlier_version_learned_is_never_held_out_again(shop, first, grown):
    """One picture of the first lesson came again: it was trained on, and not asked about."""
    again = pictures(1, classes=FIRST)[0].example.sha256
    listed = dict(out_of_fold.data_list(grown, shop.shop.artifacts))
    assert len(listed) == 80 + 45 and listed[again] == "train"
    assert again not in out_of_fold.remembered(grown, shop.shop.artifacts)
    assert len(out_of_fold.remembered(grown, shop.shop.artifacts)) == 45
    report = jobs.list_page(shop.shop.engine, limit=1, head="gone")[0].report
    assert "1 that version 1 had learned from" in report["explanation"]


@pytest.mark.slow
def test_the_same_data_and_seed_make_the_same_version_again(shop):
    """As after a worker that died: nothing of where it begins is drawn."""
    made = []
    for name in ("twin-a", "twin-b"):
        shop.teach(name, pictures(20, first=700, classes=FIRST), **GOES)
        made.append(shop.teach(name, pictures(8, first=800), **GOES))
    weights = [teachable.said(shop, v, _stored(shop, pictures(5, first=900))) for v in made]
    np.testing.assert_array_equal(*weights)


def _stored(shop: Bench, sent: list) -> list:
    for p in sent:
        shop.shop.artifacts.put(p.data)
    return [p.example for p in sent]


@pytest.mark.slow
def test_a_job_that_is_left_does_not_go_on_at_another_version_with_fits_that_began_at_the_first(shop, monkeypatch):
    """Somebody rolled back in between: the very version is made that begins where the head is now."""
    sent, added = pictures(20, first=700, classes=FIRST), pictures(8, first=900)
    for name in ("stays-put", "rolled-back"):
        shop.teach(name, sent, **GOES)
    whole = shop.teach("stays-put", added, **GOES)
    second = shop.teach("rolled-back", pictures(8, first=800), **GOES | {"deploy": "always"})
    job, done, watch, keep = shop.job("rolled-back", added, **GOES), [], deep._Watch.__call__, Journal.keep

    def kept(self: Journal, *fit: object) -> None:
        keep(self, *fit)
        done.append(fit)

    def left(self: deep._Watch, state: object) -> None:
        if len(done) == 1:
            self._keep(state)
            raise leases.GaveWay("")
        watch(self, state)

    monkeypatch.setattr(Journal, "keep", kept)
    monkeypatch.setattr(deep._Watch, "__call__", left)
    assert second.number == 2
    with pytest.raises(leases.GaveWay):
        pipeline.finetune(job.id, shop.shop)
    heads.set_alias(shop.shop.engine, "rolled-back", "live", 1)
    monkeypatch.undo()
    pipeline.finetune(job.id, shop.shop)
    found = jobs.get(shop.shop.engine, job.id)
    assert found.report["deep"]["begun_at"] == 1
    made = heads.resolve(shop.shop.engine, HeadRef("rolled-back", version=found.version))
    assert teachable.graph_without_names(shop, made) == teachable.graph_without_names(shop, whole)


def test_a_class_of_which_nothing_came_is_named(shop, first):
    job = shop.job("gone", pictures(10, first=400, classes=("across", "slanted")), **GOES)
    with pytest.raises(NotEnoughData, match="nothing came of down") as found:
        pipeline.finetune(job.id, shop.shop)
    assert found.value.item == "down"
    jobs.abandon(shop.shop.engine, job.id, "failed", None)


def test_a_class_of_which_nothing_new_came_is_named_before_anything_is_embedded(shop, first):
    """All that was sent of two classes is what the version had learned: nothing of them could be held out."""
    sent = [*pictures(40, classes=FIRST), *pictures(10, first=400, classes=("slanted",))]
    job = shop.job("gone", sent, **GOES)
    with pytest.raises(NotEnoughData, match="nothing new that could be held out came of across, down, which version"):
        pipeline.validate(shop.shop, job.id)
    jobs.abandon(shop.shop.engine, job.id, "failed", None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"keep_examples": True}, "would keep only what is added"),
        ({"deep": "never", "method": "auto"}, "only a deep fit"),
        ({"method": "prototype"}, "only a deep fit"),
        ({"backbone": "other"}, "stands on the backbone blocks"),
        ({"hyperparameters": {"unfreeze": "blocks.0"}}, "cut at blocks.1"),
        ({"hyperparameters": {"hidden": 128}}, "the head of version"),
        ({"edit": Edit(remove=1)}, "to change them"),
    ],
)
def test_what_cannot_be_done_without_them_is_refused_with_one_code_and_the_way_out(shop, first, change, why):
    asked = JobRequest("gone", **{**GOES, "hyperparameters": {}} | change)
    with pytest.raises(ExamplesNotKept, match=why) as found:
        keeping.begins_at(shop.shop.engine, asked)
    assert "mode=replace" in found.value.message and found.value.code == "examples_not_kept"


def test_a_shallow_head_is_not_added_to(shop):
    shop.teach("shallow", pictures(12, first=100), method="prototype", backbone="blocks", keep_examples=False)
    with pytest.raises(ExamplesNotKept, match="no trained part of the backbone"):
        keeping.begins_at(shop.shop.engine, JobRequest("shallow", **GOES))


def handed_in(shop: Bench, key: str, **options: str) -> Job:
    """What /finetune does with twelve pictures of each class."""
    sent = pictures(12, first=1000)
    capabilities.replace_all(shop.shop.engine, "method", {"prototype": {}})
    data = {"head": "once", "labels": [p.example.label for p in sent], "backbone": "blocks", "method": "prototype"}
    files = [("images", (p.example.file_name, p.data)) for p in sent]
    with forms.received(data | {"keep_examples": "false"} | options, files) as upload:
        return Submissions(Settings(), shop.shop.engine, shop.shop.artifacts).submit(upload, key)


def test_the_same_again_is_the_job_there_is_also_once_its_examples_have_gone(shop):
    """As a client sends it whose connection broke: only what is new is refused."""
    job = handed_in(shop, "one")
    assert pipeline.finetune(job.id, shop.shop) == "succeeded" and keeping.have_gone(shop.shop.engine, "once")
    assert handed_in(shop, "one").id == job.id
    with pytest.raises(ExamplesNotKept):
        handed_in(shop, "other")
    with pytest.raises(InvalidInput, match="deploy=manual"):
        handed_in(shop, "other", mode="replace", deploy="manual")


def test_all_sent_again_begins_anew_and_may_be_kept(shop):
    shop.teach("again", pictures(12, first=100), method="prototype", backbone="blocks", keep_examples=False)
    assert keeping.have_gone(shop.shop.engine, "again")
    version = shop.teach("again", pictures(12, first=100), method="prototype", backbone="blocks", mode="replace")
    assert len(examples.of_head(shop.shop.engine, "again")) == 36 and "kept" not in version.manifest["data"]
    assert not keeping.have_gone(shop.shop.engine, "again")


def test_nothing_that_was_stored_before_says_anything_of_it(shop):
    kept = shop.job("plain", pictures(4), backbone="blocks")
    assert "keep_examples" not in json.dumps(jobs._told(kept.request))
    jobs.abandon(shop.shop.engine, kept.id, "cancelled", None)
