"""Comparisons of versions, which may take many seconds, keep nobody else waiting."""

import asyncio
import threading
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from support.stores import opened

from adapters.comparison import paired, versions
from service.api import application

FOUND = {
    "head": "cats", "a": 1, "b": 1, "skipped": 0, "classes": [], "forgetting": None, "changed_count": 0, "changed": [],
}  # fmt: skip
PATH = "/heads/cats/compare?a=1&b=1"


@pytest.fixture
def held(monkeypatch) -> threading.Event:
    """Comparisons go on until it is set."""
    go_on = threading.Event()

    def compare(*arguments: object) -> dict[str, object]:
        go_on.wait(10)
        return paired.figures(np.zeros(0), np.zeros(0)) | FOUND

    monkeypatch.setattr(versions, "compare", compare)
    return go_on


@pytest.fixture
def app(tmp_path):
    store, made = opened(tmp_path), application.build()
    store.teach("ab", "cats")
    made.state.context = SimpleNamespace(engine=store.engine, trunks=None)
    yield made
    store.engine.dispose()


def test_reads_go_on_while_versions_are_compared_and_a_few_more_comparisons_wait(app, held):
    async def all_at_once() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as client:
            tasks = [asyncio.create_task(client.get(PATH)) for _ in range(12)]
            while sum(task.done() for task in tasks) < 8:
                await asyncio.sleep(0.01)
            refused = [task.result() for task in tasks if task.done()]
            assert {(answer.status_code, answer.json()["code"]) for answer in refused} == {(429, "overloaded")}
            assert all(int(answer.headers["retry-after"]) > 0 for answer in refused)
            assert (await client.get("/heads/cats/examples")).status_code == 200
            assert (await client.get("/heads/cats/compare?a=1&b=7")).status_code == 404, "what is wrong is said at once"
            held.set()
            assert sorted([(await task).status_code for task in tasks]) == [200] * 4 + [429] * 8

    asyncio.run(all_at_once())
