"""Jobs over HTTP: lists, events, keys that make no job twice, seeds."""

import concurrent.futures

import numpy as np
from support import downloaded
from support.pictures import shapes
from support.teaching import events_of, finetune, part, taught, unique


def test_jobs_are_listed_newest_first_by_head_and_status(server):
    """GET /jobs filters and pages."""
    head, first = taught(server, "jobs")
    second = finetune(server, head, shapes(("cross",)))
    assert [j["id"] for j in server.client.jobs(head=head)] == [second["id"], first["id"]]
    assert [j["id"] for j in server.client.jobs(head=head, status="failed")] == []
    page = server.http.get("/jobs", params={"head": head, "limit": 1}).json()
    assert [j["id"] for j in page["jobs"]] == [second["id"]]
    rest = server.http.get("/jobs", params={"head": head, "limit": 1, "before": page["next"]}).json()
    assert [j["id"] for j in rest["jobs"]] == [first["id"]]
    assert server.http.get("/jobs", params={"status": "asleep"}).status_code == 422


def test_events_tell_the_whole_story_and_resume_where_one_left_off(server, shared):
    """Every phase in order, the candidates, one final event; Last-Event-ID skips what was seen."""
    _, job = shared
    events = events_of(server, job["id"])
    assert [e["id"] for e in events] == list(range(1, len(events) + 1))
    statuses = [e["data"]["status"] for e in events if e["event"] == "status"]
    assert statuses == [
        "queued", "validating", "embedding", "training", "evaluating", "exporting", "verifying", "publishing",
    ]  # fmt: skip
    progress = [e["data"] for e in events if e["event"] == "progress"]
    assert progress[-1]["done"] == progress[-1]["total"] and progress[-1]["phase"] == "embedding"
    candidates = [row for e in events if e["event"] == "candidates" for row in e["data"]["rows"]]
    assert {"logistic", "prototype"} <= {row["method"] for row in candidates}
    assert [e["event"] for e in events].count("final") == 1 and events[-1]["event"] == "final"
    assert events[-1]["data"]["status"] == "succeeded" and events[-1]["data"]["version"] == 1
    assert events_of(server, job["id"], after=4) == events[4:]


def test_events_arrive_while_the_job_runs(server):
    """A stream opened at once sees the job to its end and then closes."""
    head = unique("stream")
    job = server.client.finetune(head, shapes(), method="prototype")
    assert [kind for kind, _ in server.client.events(job["id"])][-1] == "final"
    assert server.client.job(job["id"])["status"] == "succeeded"


def test_the_same_idempotency_key_and_body_give_the_same_job(server):
    """Whatever the boundary of the form; another body with that key is refused with 422."""
    head, key, images = unique("key"), unique("key"), shapes()
    data, files = {"head": head, "labels": [i.label for i in images]}, [part(i) for i in images]
    first = server.http.post("/finetune", data=data, files=files, headers={"Idempotency-Key": key}).json()
    headers = {"Idempotency-Key": key, "Content-Type": "multipart/form-data; boundary=quite-another-boundary"}
    for _ in range(2):
        again = server.http.post("/finetune", data=data, files=files, headers=headers)
        assert again.status_code == 202 and again.json()["id"] == first["id"]
    server.client.wait(first["id"])
    assert server.client.finetune(head, images, idempotency_key=key)["id"] == first["id"]  # by manifest, not labels
    for other in ({"seed": "1"}, {"head": unique("key")}):
        refused = server.http.post("/finetune", data=data | other, files=files, headers=headers)
        assert refused.status_code == 422 and refused.json()["code"] == "idempotency_conflict"
    assert len(server.client.jobs(head=head)) == 1


def test_concurrent_posts_with_one_key_make_one_job(server):
    """Eight at once: one job, one version."""
    head, key = unique("race"), unique("key")
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        posts = [pool.submit(server.client.finetune, head, shapes(), idempotency_key=key) for _ in range(8)]
        ids = {post.result()["id"] for post in posts}
    assert len(ids) == 1
    server.client.wait(ids.pop())
    assert len(server.client.jobs(head=head)) == 1 and len(server.client.head(head)["versions"]) == 1


def test_the_same_seed_gives_the_same_graph(server):
    """Two heads from the same images and seed answer alike, to the last bit of their weights."""
    scores = []
    for _ in range(2):
        head, _ = taught(server, "seed", method="logistic", seed=7)
        scores.append(downloaded.asked(server.client.graph(head, 1), np.ones((1, 3464), np.float32)))
    np.testing.assert_array_equal(*scores)
