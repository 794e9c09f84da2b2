"""A backup of a running service: while it is made others teach, ask, delete and wait; what is restored goes on."""

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import object_store
from support.pictures import shape, shapes
from support.services import Service, espalier, eventually

from service.client import ApiError


class Load:
    """Teaches, asks and deletes in threads until it is told to stop; what fails is kept."""

    def __init__(self, service: Service) -> None:
        self.service, self.failed, self.asked, self.taught = service, [], 0, 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(task,)) for task in (self._ask, self._teach)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _run(self, task: Callable[[int], None]) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            try:
                task(number)
            except ApiError as error:
                self.failed.append(str(error))

    def _ask(self, number: int) -> None:
        self.service.client.predict(["kept"], [shape("circle", number)])
        self.asked += 1

    def _teach(self, number: int) -> None:
        """One head grows, and others come and go: their images are wanted one moment and not the next."""
        client, name = self.service.client, f"passing-{number % 2}"
        client.finetune(name, shapes(each=3, start=10 * number), method="prototype", wait=60)
        client.finetune("grows", shapes(each=3, start=10 * number), method="prototype", wait=60)
        client.delete_head(name)
        self.taught += 1


@pytest.fixture(params=["sqlite and a folder", pytest.param("postgres and s3", marks=pytest.mark.postgres)])
def stores(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, object]]:
    """Settings that name a database and a store."""
    if request.param != "postgres and s3":
        yield {}
        return
    url = request.getfixturevalue("empty_postgres")
    (tmp_path / "bucket").mkdir()
    with object_store.running(tmp_path / "bucket") as bucket:
        for name, value in bucket.environment().items():
            monkeypatch.setenv(name, value)
        yield {"database_url": url, "artifacts_url": bucket.url("live")}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_backup_under_load_restores_to_a_service_that_answers_the_same(own_server, tmp_path, stores) -> None:
    service = own_server(**stores)
    service.client.finetune("kept", shapes(), method="prototype", wait=60)
    backups = [tmp_path / f"backup-{n}" for n in range(3)]
    with Load(service) as load:
        for path in backups:
            before = load.taught
            made = json.loads(espalier("backup", str(path), "--json", home=service.home, **stores).stdout)
            assert made["lost"] == [] and made["tables"]["heads"] >= 1
            eventually(lambda before=before: load.taught > before or load.failed)
    assert load.failed == [] and load.asked and load.taught
    image = shape("triangle", 7)
    answers = service.client.predict(["kept"], [image])["predictions"]
    service.stop()
    for path in backups:
        _restored_is_sound(path, tmp_path / f"of-{path.name}")
    again = Service(tmp_path / "of-backup-0").start()
    try:
        assert again.client.predict(["kept"], [image])["predictions"] == answers
        eventually(lambda: not [j for j in again.client.jobs() if j["status"] not in ("succeeded", "rejected")])
        job = again.client.finetune("kept", shapes(("cross",)), method="prototype", wait=60)
        assert (job["status"], job["version"]) == ("succeeded", 2)
    finally:
        again.stop()


def _restored_is_sound(path, home) -> None:
    told = json.loads(espalier("restore", str(path), "--json", home=home).stdout)
    assert told["differences"] == []
    assert espalier("check", home=home).stdout == "everything is as it was stored\n"


@pytest.mark.slow
def test_a_job_that_waited_is_done_by_the_installation_that_is_restored(own_server, tmp_path) -> None:
    """And the key with which it was sent still stands for it."""
    service = own_server()
    for pid in service.pids("service.cli worker"):
        os.kill(pid, signal.SIGSTOP)
    job = service.client.finetune("waits", shapes(), method="prototype", idempotency_key="once")
    espalier("backup", str(tmp_path / "backup.tar"), home=service.home)
    service.stop()
    espalier("restore", str(tmp_path / "backup.tar"), home=tmp_path / "new")
    restored = Service(tmp_path / "new").start()
    try:
        assert restored.client.wait(job["id"])["status"] == "succeeded"
        same = restored.client.finetune("waits", shapes(), method="prototype", idempotency_key="once")
        assert same["id"] == job["id"]
        assert restored.client.predict(["waits"], [shape("circle", 99)])["predictions"][0]["label"] == "circle"
    finally:
        restored.stop()
