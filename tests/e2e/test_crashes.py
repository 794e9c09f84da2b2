"""kill -9 of every process at every moment: a job still ends once, and what was served is served again."""

import concurrent.futures
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from support.pictures import labeled, shape, shapes
from support.recorder import check_history
from support.services import Service, command_line, eventually, kill

from service.client import ApiError, LabeledImage

PHASES = ("validating", "embedding", "training", "evaluating", "exporting", "verifying", "publishing", "published")
ORDER = ("queued", *PHASES[:-1])


def moments(*phases: str, always: str) -> list:
    """All of them in CI; by default the one that loses most."""
    return [pytest.param(phase, marks=[] if phase == always else pytest.mark.slow) for phase in phases]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the hooks in the worker leave their marks."""
    return tmp_path_factory.mktemp("plan")


@pytest.fixture(scope="module")
def hooked(prepared: Path, tmp_path_factory: pytest.TempPathFactory, plan: Path):
    """A service whose worker is killed or held where a head's name says so; see support/hooks/sitecustomize.py."""
    import shutil

    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("hooked") / "home"))
    service = Service(home, {}, plan)
    try:
        yield service.start()
    finally:
        service.stop()


@pytest.fixture(autouse=True)
def whole(request: pytest.FixtureRequest) -> Iterator[None]:
    """After each test the history of its service is without a fault."""
    yield
    if "hooked" in request.fixturenames:
        check_history(request.getfixturevalue("hooked"))


@pytest.fixture
def worker_process(hooked: Service) -> int:
    """The worker's process id."""
    return eventually(lambda: hooked.pids("worker"))[0]


@pytest.mark.parametrize("phase", moments(*PHASES, always="publishing"))
def test_a_worker_killed_in_any_phase_is_followed_by_one_that_finishes_the_job(hooked, plan, phase):
    """The job ends as succeeded, once, with one version, and nothing of the first try is left over."""
    head = f"kill-{phase}"
    before = hooked.blobs()
    job = hooked.client.finetune(head, _images(phase), method="prototype")
    ended = hooked.client.wait(job["id"])
    assert (plan / f"{job['id']}-{phase}").read_text() == "killed\n", "the worker was not killed: this shows nothing"
    eventually(lambda: hooked.pids("worker"))
    assert ended["status"] == "succeeded" and ended["version"] == 1
    assert [v["version"] for v in hooked.client.head(head)["versions"]] == [1]
    assert hooked.client.predict([head], [shape("circle", 70)])["predictions"][0]["label"] == "circle"
    _check_story(hooked, job["id"], phase)
    _check_leftovers(hooked, head, before)


@pytest.mark.slow
@pytest.mark.parametrize("phase", moments("training", "publishing", "published", always="training"))
def test_a_worker_killed_while_it_unlearns_is_followed_by_one_that_leaves_no_trace(hooked, plan, phase):
    """One new version, the old one retired once, and the image and its embedding gone."""
    head, images = f"kill-{phase}-unlearn", shapes(start=1500 + 100 * PHASES.index(phase))
    hooked.client.wait(hooked.client.finetune(head, images, method="prototype")["id"])
    gone = hashlib.sha256(images[0].data()).hexdigest()
    ended = hooked.client.wait(hooked.client.forget(head, [gone])["id"])
    assert (plan / f"{ended['id']}-{phase}").read_text() == "killed\n"
    assert ended["status"] == "succeeded" and ended["report"]["retired"]["versions"] == [1]
    assert [v["version"] for v in hooked.client.head(head)["versions"]] == [2]
    assert len(list(hooked.client.examples(head))) == 23
    eventually(lambda: gone not in hooked.blobs())
    for table in ("examples", "job_examples", "embeddings"):
        assert not hooked.rows(table, "sha256=?", gone)


@pytest.mark.slow
def test_a_job_that_kills_its_worker_at_every_try_fails_as_worker_lost(own_server, tmp_path):
    """After its attempts it is given up, and the next job runs."""
    plan = tmp_path / "plan"
    plan.mkdir()
    service = own_server(plan=plan, test_attempts=1)
    job = service.client.finetune("kill-always-training", shapes(), method="prototype")
    ended = service.client.wait(job["id"])
    assert ended["status"] == "failed" and ended["error"]["code"] == "worker_lost" and ended["version"] is None
    assert _final_events(service, job["id"]) == 1
    assert len((plan / f"{job['id']}-training").read_text().splitlines()) >= 2
    assert not service.rows("job_examples") and not service.rows("versions")
    after = service.client.wait(service.client.finetune("well", shapes(), method="prototype")["id"])
    assert after["status"] == "succeeded"
    check_history(service)


@pytest.mark.slow
def test_jobs_of_one_head_run_one_after_the_other(hooked):
    """The second sees the first's data, so both together are one head of all classes."""
    first = hooked.client.finetune("sequel", shapes(), method="prototype")
    second = hooked.client.finetune("sequel", shapes(("cross", "bar")), method="prototype")
    one, two = hooked.client.wait(first["id"]), hooked.client.wait(second["id"])
    assert [one["version"], two["version"]] == [1, 2]
    assert one["finished_at"] <= two["started_at"]
    assert len(two["report"]["data"]["classes"]) == 5


def test_a_waiting_job_is_cancelled_at_once_and_leaves_nothing(hooked, plan):
    """While another job runs: its uploads are deleted, its end is `cancelled`, and it is told once."""
    running = hooked.client.finetune("hold-training-1", shapes(), method="prototype")
    eventually(lambda: (plan / f"{running['id']}-training").exists())
    before = hooked.blobs()
    images = [labeled(f"{k}{n}", shape(k, 2000 + n), k) for k in ("circle", "square") for n in range(4)]
    waiting = hooked.client.finetune("never", images)
    assert hooked.blobs() > before
    cancelled = hooked.client.cancel(waiting["id"])
    assert cancelled["status"] == "cancelled" and cancelled["finished_at"]
    assert hooked.blobs() == before
    assert not hooked.rows("job_examples", "job_id=?", waiting["id"])
    assert hooked.client.cancel(running["id"])["status"] == "cancelled"
    (plan / "go").touch()
    for job in (waiting, running):
        assert _final_events(hooked, job["id"]) == 1
        assert hooked.client.cancel(job["id"])["status"] == "cancelled"  # again does nothing
    with pytest.raises(ApiError) as nobody:
        hooked.client.head("never")
    assert nobody.value.code == "head_not_found"
    # The worker that was held sees that it may go on, and that nobody wants its job any more.
    assert (
        hooked.client.wait(hooked.client.finetune("next", shapes(), method="prototype")["id"])["status"] == "succeeded"
    )
    (plan / "go").unlink()


@pytest.mark.parametrize("phase", moments("embedding", "evaluating", "verifying", "publishing", always="evaluating"))
def test_a_running_job_ends_when_it_is_cancelled(hooked, plan, phase):
    """In whatever phase, although its worker does not look: without a version, and it leaves neither rows nor blobs."""
    head = f"hold-{phase}"
    before = hooked.blobs()
    images = [labeled(f"{k}{n}", shape(k, 3000 + n), k) for k in ("circle", "square") for n in range(4)]
    job = hooked.client.finetune(head, images, method="prototype")
    eventually(lambda: (plan / f"{job['id']}-{phase}").exists())
    ended = hooked.client.cancel(job["id"])
    assert ended["status"] == "cancelled" and ended["cancel_requested"] and ended["version"] is None
    (plan / "go").touch()
    after = hooked.client.wait(hooked.client.finetune(f"after-{head}", shapes(), method="prototype")["id"])
    (plan / "go").unlink()
    assert after["status"] == "succeeded"
    assert hooked.client.job(job["id"]) == ended
    assert _final_events(hooked, job["id"]) == 1
    assert not hooked.rows("versions", "head=?", head) and not hooked.rows("job_examples", "job_id=?", job["id"])
    hooked.http.delete(f"/heads/after-{head}").raise_for_status()
    eventually(lambda: hooked.blobs() <= before)


@pytest.mark.slow
@pytest.mark.parametrize("victim", moments("both", "bentoml serve", "_bentoml_impl", always="both"))
def test_a_killed_server_comes_back_by_itself_and_no_head_is_lost(hooked, victim):
    """kill -9 during 100 concurrent predictions, of the parent, of the process that serves, and of both."""
    head = "survivor"
    if head not in [h["name"] for h in hooked.client.heads()]:
        hooked.client.wait(hooked.client.finetune(head, shapes(), method="prototype")["id"])
    image = shape("square", 71)
    wanted = hooked.client.predict([head], [image])["predictions"]
    heads = hooked.client.heads()
    victims = [p for word in _words(victim) for p in eventually(lambda word=word: hooked.pids(word))]
    family = hooked.pids("service.app")

    def ask(number: int) -> str:
        if number == 50:
            for pid in victims:
                kill(pid)
        try:
            answer = httpx.post(f"{hooked.url}/predict", data={"head": head}, files={"images": image}, timeout=60)
            return "right" if answer.json()["predictions"] == wanted else "wrong"
        except httpx.TransportError:
            return "lost"

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        outcomes = Counter(pool.map(ask, range(100)))
    assert not outcomes["wrong"], outcomes
    eventually(lambda: hooked.client.is_ready() and not set(victims) & set(hooked.pids("service.app")))
    if victim != "_bentoml_impl":  # whose parent lives on and starts another
        eventually(lambda: not [p for p in family if "service.app" in command_line(p)])
    assert eventually(lambda: hooked.client.predict([head], [image]))["predictions"] == wanted
    assert hooked.client.heads() == heads
    job = hooked.client.finetune(f"after-{victim.split()[0].strip('_')}", shapes(), method="prototype", wait=60)
    assert hooked.client.wait(job["id"])["status"] == "succeeded"


def _images(phase: str) -> list[LabeledImage]:
    """Pictures that no other job has, so that its drafts are its own too."""
    return shapes(start=100 * (1 + PHASES.index(phase)))


def _words(victim: str) -> list[str]:
    return ["bentoml serve", "_bentoml_impl"] if victim == "both" else [victim]


def _final_events(service: Service, job_id: str) -> int:
    return len(service.rows("job_events", "job_id=? AND type='final'", job_id))


def _check_story(service: Service, job_id: str, killed_in: str) -> None:
    """Events without gaps, phases in order but for what was done again, and one end at the end."""
    events = service.rows("job_events", "job_id=? ORDER BY sequence", job_id)
    assert [e["sequence"] for e in events] == list(range(1, len(events) + 1))
    assert _final_events(service, job_id) == 1 and events[-1]["type"] == "final"
    told = [e["data"].split('"')[3] for e in events if e["type"] == "status"]
    again = [a for a, b in itertools.pairwise(told) if ORDER.index(b) <= ORDER.index(a)]
    assert set(told) == set(ORDER)
    assert len(again) == (0 if killed_in == "published" else 1), told


def _check_leftovers(service: Service, head: str, before: set[str]) -> None:
    """Beside its images, a version keeps its graph, the list of its data, its answers to it and its report."""
    kept = {row["sha256"] for row in service.rows("examples", "head=?", head)}
    manifest = service.client.manifest(head, 1)
    data = manifest["data"]
    kept |= {service.client.head(head)["versions"][0]["digest"], data["digest"], data["answers"]}
    eventually(lambda: service.blobs() - before <= kept | {_report(service, head)})
    eventually(lambda: not service.rows("job_examples", "job_id=?", manifest["job"]))
    assert _report(service, head) in service.blobs()


def _report(service: Service, head: str) -> str:
    """Its digest changes once: the learning curve is added when the version is live."""
    return service.client.manifest(head, 1)["data"]["report"]
