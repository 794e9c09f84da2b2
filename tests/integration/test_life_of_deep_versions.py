"""What becomes of deep versions: unlearned, added to, deleted, rebuilt, corrected; and those of other tasks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from support.teachable import DEEP, QUICK, graph_without_names, live, pictures

from adapters.comparison import versions
from adapters.runtime.heads.head import Head
from adapters.store import examples, heads, jobs
from adapters.types import Edit, HeadRef


@pytest.mark.slow
def test_what_is_unlearned_goes_with_every_version_that_knew_it(shop):
    sent = pictures(20, first=500)
    first, picture = shop.teach("unlearned", sent, **DEEP), sent[7]
    second = shop.teach("unlearned", [picture], **DEEP | {"edit": Edit(remove=1), "deploy": "always"})
    assert "deep" in second.manifest and second.manifest["data"]["examples"] == 59
    assert [v.number for v in heads.summary(shop.shop.engine, "unlearned").versions] == [second.number]
    assert not shop.shop.artifacts.has(first.digest) and not shop.shop.artifacts.has(picture.example.sha256)
    never = shop.teach("never-sent", [p for p in sent if p is not picture], **DEEP)
    assert graph_without_names(shop, second) == graph_without_names(shop, never)


@pytest.mark.slow
def test_a_class_that_is_added_says_what_became_of_those_before(shop):
    some = [p for p in pictures(20) if p.example.label != "slanted"]
    shop.teach("grows", some, **DEEP)
    grown = shop.teach("grows", [p for p in pictures(20) if p.example.label == "slanted"], **DEEP)
    lost = grown.manifest["gate"]["forgetting"]
    assert lost["added"] == ["slanted"] and lost["classes"] == 2 and lost["examples"] == 40
    assert 0 <= lost["after"] <= 1 and "40 held-out examples of the 2 earlier classes" in lost["meaning"]
    first = heads.resolve(shop.shop.engine, HeadRef("grows", version=1))
    compared = versions.compare(first, grown, shop.shop.engine, shop.shop.trunks, 5)
    assert compared["forgetting"] == lost


def test_deleting_a_head_lets_go_of_what_its_deep_versions_read(shop):
    version = shop.teach("deleted", pictures(10), **DEEP | {"hyperparameters": QUICK | {"unfreeze": "blocks.0"}})
    trunk = version.manifest["deep"]["trunk"]
    assert shop.shop.artifacts.has(trunk)
    job = jobs.list_page(shop.shop.engine, limit=1)[0].id
    heads.delete(shop.shop.engine, "deleted")
    shop.shop.let_go(job)
    assert not shop.shop.artifacts.has(trunk)


@pytest.mark.slow
def test_a_rebuild_is_trained_deep_again_and_gated_as_any_version(shop):
    """From the same examples on the same backbone: the very graph, which is no worse than itself."""
    first = shop.teach("rebuilt", pictures(10, first=800), **DEEP)
    second = shop.teach("rebuilt", [], **DEEP | {"edit": Edit()})
    assert second.manifest["gate"]["against"] == first.number and second.manifest["gate"]["candidate_better"] == 0
    assert graph_without_names(shop, first) == graph_without_names(shop, second)


@pytest.mark.slow
def test_a_corrected_label_is_trained_deep_again_whatever_the_gate_says(shop):
    sent = pictures(10, first=900)
    shop.teach("corrected", sent, **DEEP)
    other = replace(sent[0], example=replace(sent[0].example, label="slanted"))
    second = shop.teach("corrected", [other], **DEEP | {"edit": Edit(relabel=1), "deploy": "always"})
    held = {e.sha256: e.label for e, _ in examples.of_head(shop.shop.engine, "corrected")}
    assert "deep" in second.manifest and held[sent[0].example.sha256] == "slanted" and len(held) == 30
    assert live(shop, "corrected").number == second.number


@pytest.mark.slow
@pytest.mark.parametrize(("task", "labels"), [("multilabel", ["{0}", "{0}|striped"]), ("regression", ["0.1", "0.9"])])
def test_other_tasks_are_trained_deep_as_well(shop, task, labels):
    """Labels that are each yes or no, and numbers: the same round, through their own objectives."""
    marks = {"multilabel": lambda kind, n: json.dumps([kind, "odd"] if n % 2 else [kind]),
             "regression": lambda kind, n: json.dumps({"size": float(len(kind)) + n % 2})}[task]  # fmt: skip
    sent = [replace(p, example=replace(p.example, label=marks(p.example.label, n)))
            for n, p in enumerate(pictures(15, first=950))]  # fmt: skip
    version = shop.teach(f"deep-{task}", sent, **DEEP | {"task": task})
    assert version.manifest["deep"]["cut"]["name"] == "blocks.1" and version.manifest["task"] == task
    head = Head.from_bytes(heads.stored(shop.shop.artifacts, version))
    answers = shop.shop.trunks.said(head, version, [p.example for p in sent[:3]])
    assert all(np.isfinite(array).all() for array in answers.values())
