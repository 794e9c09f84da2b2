"""What a job and a version tell of themselves, over HTTP: figures, findings, and pages for people."""

import pytest
from support.inputs import of_every_version, relabeled
from support.pictures import labeled, shape, shapes
from support.services import eventually
from support.teaching import KINDS, finetune, held_out, taught, unique


@of_every_version
def test_a_job_reports_what_is_promised(learned, inputs):
    """Metrics, per-class figures, confusion, the race, the gate, parity and times are in the finished job."""
    _, job = learned
    kinds = inputs.kinds[:3]
    assert {"accuracy", "accuracy_interval", "macro_f1", "log_loss", "ece"} <= set(job["metrics"])
    assert set(job["report"]["per_class"]) == set(kinds)
    assert {"precision", "recall"} <= set(job["report"]["per_class"][kinds[0]])
    assert job["report"]["confusion"]["labels"] == sorted(kinds)
    assert job["report"]["race"] and job["report"]["gate"]["passed"]
    assert job["report"]["parity"]["max_difference"] <= 1e-4
    assert job["report"]["evaluation"] == "cross-validation" and "cross-validation" in job["report"]["explanation"]
    assert job["error"] is None and job["created_at"] <= job["started_at"] <= job["finished_at"]


@of_every_version
def test_a_version_has_a_report_for_programs_and_one_for_people(server, learned, inputs):
    """JSON and a page: figures, findings, race and, once it is measured, the learning curve or why there is none."""
    head, job = learned
    kinds = sorted(inputs.kinds[:3])
    found = eventually(lambda: r if "curve" in (r := server.client.report(head)) else None)
    assert (found["head"], found["version"], found["metrics"]) == (head, 1, job["metrics"])
    assert found["findings"]["duplicates"]["straddling"] == 0
    assert found["findings"]["suspected_labels"]["judged"] == 24
    assert found["findings"]["imbalance"]["counts"] == dict.fromkeys(kinds, 8)
    assert job["report"]["data_report"]["suspected_labels"] == {"flagged": 0, "judged": 24}
    assert f"'{kinds[0]}' has 6 to train on" in found["curve"]["skipped"]
    assert {row["method"] for row in found["race"]} == {row["method"] for row in job["report"]["race"]}
    page = server.http.get(f"/heads/{head}/report", headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert page.headers["content-type"].startswith("text/html") and head in page.text
    for accept in ("*/*", "application/json, text/html;q=0.5"):
        answer = server.http.get(f"/heads/{head}/report", headers={"Accept": accept})
        assert answer.json() == found and answer.headers["vary"] == "Accept"
    assert page.headers["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
    assert "<script" not in page.text and page.text == server.client.report_page(head, 1)


def test_a_report_that_is_not_there_is_a_problem(server, shared):
    """An unknown head, version or format is named."""
    head, _ = shared
    for path, status, code in (
        (f"/heads/{unique('nobody')}/report", 404, "head_not_found"),
        (f"/heads/{head}/report?version=99", 404, "version_not_found"),
        (f"/heads/{head}/report?format=pdf", 422, "invalid_input"),
        (f"/heads/{head}/report?version=0", 422, "invalid_input"),
    ):
        answer = server.http.get(path, headers={"Accept": "text/html"})
        assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_wrong_label_and_a_copy_are_in_the_report_and_shown(server, inputs):
    """One of a kind that is labeled as another heads the list; one sent again in other bytes is beside its original."""
    one, other, third = inputs.kinds[:3]
    sent = inputs.several(each=16, start=4000)
    sent[0] = relabeled(sent[0], other)
    sent.append(inputs.again(third, 4005))
    head, _ = taught(server, "suspects", sent, method="logistic", field=inputs.field)
    found = eventually(lambda: r if "curve" in (r := server.client.report(head)) else None)
    first = found["findings"]["suspected_labels"]["list"][0]
    assert (first["file_name"], first["label"], first["suggested"]) == (sent[0].file_name, other, one)
    copies = [{row["file_name"] for row in group} for group in found["findings"]["duplicates"]["list"]]
    assert {f"{third}-4005{inputs.suffix}", sent[-1].file_name} in copies
    assert {"measure", "points", "gain", "more_inputs", "answer"} == set(found["curve"])
    page = server.client.report_page(head)
    assert first["file_name"] in page and inputs.shown(page, [each.data() for each in sent]) >= 3


@pytest.mark.slow
def test_a_rejected_version_has_a_report_too(server):
    """With its curve, although its images are not kept; the page leaves their places empty."""
    images = [*shapes(each=12), *held_out(each=12)]
    head, _ = taught(server, "rejected", images, method="auto")
    shuffled = [i.label if i.split else KINDS[(KINDS.index(i.label) + n // 3) % 3] for n, i in enumerate(images)]
    wrong = [labeled(f"n{i.file_name}", shape(i.label, 7000 + n), s, i.split) for n, (i, s) in
             enumerate(zip(images, shuffled, strict=True)) if not i.split]  # fmt: skip
    job = finetune(server, head, [*wrong, *held_out(each=12)], method="auto", mode="replace")
    assert job["status"] == "rejected"
    found = eventually(lambda: r if "curve" in (r := server.client.report(head, 2)) else None)
    assert found["status"] == "rejected" and "worse than the live version" in found["gate"]["reason"]
    assert found["findings"]["suspected_labels"]["judged"] == found["findings"]["suspected_labels"]["examples"]
    gone = found["findings"]["suspected_labels"]["list"] + found["worst"]
    eventually(lambda: any(row["sha256"] not in server.blobs() for row in gone))
    assert "not kept" in server.client.report_page(head, 2) and server.client.report(head)["version"] == 1
