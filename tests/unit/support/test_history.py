"""The history checker notices each thing that must not be, and nothing in a sound history."""

from collections.abc import Callable
from typing import Any

import pytest
from support.history import History, violations

Tables = dict[str, list[dict[str, Any]]]


def job(number: int, **facts: Any) -> dict[str, Any]:
    row = {"id": f"j{number}", "head": "cats", "status": "succeeded", "version": number, "error": None}
    return row | {"sequence": number, "created_at": number} | facts


def events(job_id: str, *kinds: str) -> list[dict[str, Any]]:
    data = {"final": {"status": "succeeded"}, "cancelled": {"status": "cancelled"}}
    names = {"cancelled": "final"}
    return [
        {"job_id": job_id, "sequence": n, "type": names.get(kind, kind), "data": data.get(kind, {})}
        for n, kind in enumerate(kinds, 1)
    ]


def version(number: int) -> dict[str, Any]:
    manifest = {"data": {"digest": f"data{number}", "report": f"report{number}"}}
    return {"head": "cats", "number": number, "digest": f"graph{number}", "job_id": f"j{number}", "manifest": manifest}


def tables() -> Tables:
    """Two versions of a head, and a third job that was cancelled; a fourth one's head was deleted."""
    return {
        "jobs": [
            job(1), job(2), job(3, status="cancelled", version=None), job(4, head="gone", version=1),
        ],
        "job_events": [
            *events("j1", "status", "final"), *events("j2", "status", "progress", "final"),
            *events("j3", "status", "cancelled"), *events("j4", "final"),
        ],
        "heads": [{"name": "cats", "next_version": 3}],
        "versions": [version(1), version(2)],
        "aliases": [{"head": "cats", "alias": "live", "number": 2}],
        "examples": [{"head": "cats", "sha256": "image"}],
        "job_examples": [{"job_id": "j2", "sha256": "waiting"}],
        "job_blobs": [{"job_id": "j2", "digest": "draft"}],
        "backbones": [{"name": "lite", "facts": {"artifact": "network"}}],
    }  # fmt: skip


def stored() -> dict[str, str]:
    needed = [f"{kind}{n}" for kind in ("graph", "data", "report") for n in (1, 2)]
    return {name: name for name in (*needed, "image", "network", "waiting", "draft")}


def found(change: Callable[[Tables, dict[str, str]], object] = lambda rows, blobs: None, **more: Any) -> list[str]:
    """What is said of the sound history after a change."""
    rows, blobs = tables(), stored()
    change(rows, blobs)
    return violations(History(rows, blobs, **more))


def test_a_sound_history_is_sound():
    answers = [{"head": "cats", "version": 2, "digest": "graph2"}, {"head": "cats", "version": 7, "digest": "deleted"}]
    assert found(accepted=["j1", "j4"], answers=answers) == []


def test_a_next_stage_may_end_as_rejected_without_a_version_and_let_later_jobs_go_by():
    def declined(rows: Tables, blobs: dict[str, str]) -> None:
        rows["jobs"].append(job(5, status="rejected", version=None, request={"of": "j1"}))
        rows["job_events"].append({"job_id": "j5", "sequence": 1, "type": "final", "data": {"status": "rejected"}})
        rows["jobs"][0].update(sequence=9, request={"of": "j0"})  # taken up after the job of version 2

    assert found(declined) == []


WRONG: dict[str, tuple[Callable[[Tables, dict[str, str]], object], str]] = {
    "a job that never ends": (
        lambda rows, _: (rows["jobs"][2].update(status="training"), rows["job_events"].pop(-2)), "j3 did not end"
    ),
    "a success without a version": (lambda rows, _: rows["jobs"][3].update(version=None), "j4 ended as succeeded"),
    "a loss without a version": (
        lambda rows, _: (
            rows["jobs"][2].update(status="rejected", request={}),
            rows["job_events"][-2]["data"].update(status="rejected"),
        ), "j3 ended as rejected with version None",
    ),
    "a failure without an error": (
        lambda rows, _: (
            rows["jobs"][2].update(status="failed"), rows["job_events"][-2]["data"].update(status="failed")
        ), "j3 ended as failed",
    ),
    "two versions of a job": (
        lambda rows, blobs: (rows["versions"].append(version(1) | {"number": 7}),), "j1 made 2 versions"
    ),
    "a version that its job knows nothing of": (
        lambda rows, _: rows["versions"][1].update(job_id="j3"), "cats@2 is of j3"
    ),
    "a number used twice": (lambda rows, _: rows["jobs"].append(job(2, id="j5")), "cats@2 was made 2 times"),
    "a number that will be used again": (lambda rows, _: rows["heads"][0].update(next_version=2), "cats@2 was made"),
    "versions against the order of acceptance": (
        lambda rows, _: rows["jobs"][0].update(sequence=9), "versions [2, 1] by acceptance"
    ),
    "an alias of nothing": (lambda rows, _: rows["aliases"][0].update(number=5), "points at cats@5"),
    "a gap in the events": (lambda rows, _: rows["job_events"].pop(3), "j2 has gaps"),
    "no final event": (lambda rows, _: rows["job_events"].pop(1), "j1 ended as succeeded; told as its end: []"),
    "two final events": (lambda rows, _: rows["job_events"].append(events("j4", "final", "final")[1]), "told as its"),
    "an event after the final one": (
        lambda rows, _: rows["job_events"].append(events("j4", "final", "progress")[1]), "told as its end"
    ),
    "a final event of another end": (
        lambda rows, _: rows["job_events"][1]["data"].update(status="failed"), "told as its end: ['failed']"
    ),
    "a version without its graph": (lambda _, blobs: blobs.pop("graph1"), "the blob graph1… of cats@1 is not there"),
    "a version without its data": (lambda _, blobs: blobs.pop("data2"), "the blob data2… of cats@2 is not there"),
    "a damaged graph": (lambda _, blobs: blobs.update(graph2="x"), "the blob graph2… of cats@2 is damaged"),
    "a lost image": (lambda _, blobs: blobs.pop("image"), "an example of cats is not there"),
    "a lost backbone": (lambda _, blobs: blobs.pop("network"), "the backbone lite is not there"),
    "a blob that nobody needs": (lambda _, blobs: blobs.update(orphan="orphan"), "nothing needs the blob orphan"),
    "half a blob under another name": (lambda _, blobs: blobs.update({"a#1": "x"}), "nothing needs the blob a#1"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_it_notices(name):
    change, sentence = WRONG[name]
    told = found(change)
    assert any(sentence in one for one in told), told


def test_it_notices_a_lost_acceptance_and_an_answer_of_another_graph():
    told = found(accepted=["j9"], answers=[{"head": "cats", "version": 1, "digest": "graph2"}])
    assert told == ["j9 was accepted and is gone", "an answer of cats@1 is of another graph"]


def test_a_blob_that_waits_to_be_deleted_is_no_orphan():
    assert found(lambda _, blobs: blobs.update(old="old"), removed=frozenset({"old"})) == []
