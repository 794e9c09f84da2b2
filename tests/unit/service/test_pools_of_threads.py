"""Lines of threads that work for a request or a job have its ids, whichever pool the thread is of."""

import asyncio
import hashlib
import json
import logging
import re
from pathlib import Path

import pytest
from support.stores import opened

from adapters.pools import Pool, begun
from adapters.runtime.heads.live import LiveHeads
from adapters.store import patience
from adapters.store.objects.artifacts import Artifacts
from adapters.types import HeadRef
from service.access.principal import Call, Principal, calling
from service.operations import logs, requests
from service.operations.requests import Origin

ROOT = Path(__file__).parents[3]
ACME = Call(Principal("acme", "key_1", ("teach",)), "teach")
NOBODYS = {"adapters/pools.py", "adapters/runtime/batcher.py", "adapters/runtime/heads/catch_up.py"}


class Kept(logging.Handler):
    """What lines are about, as JSON has it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = json.loads(logs.Json().format(record))
        self.lines.append({name: line.get(name) for name in ("request_id", "tenant", "principal", "job_id")})


@pytest.fixture
def kept():
    log, handler = logging.getLogger("espalier.test"), Kept()
    log.addHandler(handler)
    yield handler
    log.removeHandler(handler)


def say(*_):
    logging.getLogger("espalier.test").warning("something")
    return b"bytes"


def of(number: int):
    return {"request_id": f"r{number}", "tenant": "acme", "principal": "key_1", "job_id": f"job_{number}"}


def test_each_piece_of_work_is_of_who_has_handed_it_in(kept):
    with Pool(2) as pool:
        for number in range(20):
            with requests.answering(Origin(f"r{number}")), calling(ACME), logs.about(job_id=f"job_{number}"):
                pool.submit(say)
                list(pool.map(say, range(2)))
        pool.submit(say).result()
    nobodys = dict.fromkeys(of(0))
    assert sorted(map(str, kept.lines)) == sorted(map(str, [*(of(n) for n in range(20) for _ in range(3)), nobodys]))


def test_what_it_does_to_its_context_is_its_own():
    with patience.within(60.0), Pool(1) as pool:
        pool.submit(patience.answered).result()
        assert patience.left(1000.0) <= 60.0


def test_the_event_loops_own_threads_know_it_too(kept):
    async def work():
        with requests.answering(Origin("r1")), calling(ACME), logs.about(job_id="job_1"):
            later = begun(say)
        await later

    asyncio.run(work())
    assert kept.lines == [of(1)]


def test_threads_that_store_blobs_say_whose_they_are(kept, tmp_path):
    name = hashlib.sha256(b"bytes").hexdigest()
    with requests.answering(Origin("r1")), calling(ACME), logs.about(job_id="job_1"):
        Artifacts(str(tmp_path)).put_all([(name, say)])
    assert kept.lines == [of(1)]


def test_a_head_that_is_loaded_for_a_request_says_for_which(kept, tmp_path, monkeypatch):
    store = opened(tmp_path)
    live = LiveHeads(store.engine, store.artifacts, max_bytes=2**20)
    monkeypatch.setattr(live, "get", say)
    with requests.answering(Origin("r1")), calling(ACME), logs.about(job_id="job_1"):
        asyncio.run(live.fetch(HeadRef("cats")))
    live.stop()
    store.engine.dispose()
    assert kept.lines == [of(1)]


def test_nobody_else_makes_a_pool_that_forgets_it():
    """But where work is of all requests at once."""
    found = {
        str(file.relative_to(ROOT))
        for folder in ("adapters", "service")
        for file in (ROOT / folder).rglob("*.py")
        if re.search(r"\bThreadPoolExecutor\b|\brun_in_executor\b", file.read_text())
    }
    assert found == NOBODYS
