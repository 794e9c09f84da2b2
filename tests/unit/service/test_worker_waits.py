"""A worker that cannot write down how a job ended, as its database is away, is not taken for one that hangs."""

import threading
from types import SimpleNamespace

from sqlalchemy.exc import OperationalError

from service.processes import worker
from service.processes.worker import Worker


def test_each_try_to_settle_a_job_is_a_sign_of_work(monkeypatch):
    given, tried = [], []

    def settle(*_):
        tried.append(len(given))
        if len(tried) < 4:
            raise OperationalError("UPDATE jobs", {}, ConnectionError("refused"))

    monkeypatch.setattr(worker.attempts, "settle", settle)
    monkeypatch.setattr(worker.jobs, "is_settled", lambda *_: False)
    monkeypatch.setattr(worker, "PATIENCE", 0.0)
    training = SimpleNamespace(signs=SimpleNamespace(give=lambda: given.append("sign")))
    one = SimpleNamespace(training=training, settings=SimpleNamespace(job_retries=3), engine=None)
    lease = SimpleNamespace(job_id="job_1")
    assert worker._persist(threading.Event(), lambda: Worker._settle(one, lease, "succeeded"))
    assert tried == [1, 2, 3, 4]  # a sign before each of them
