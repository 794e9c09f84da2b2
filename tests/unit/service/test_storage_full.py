"""A full store: said as 507 with its code, whatever it was that ran out of space."""

import errno

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from adapters.errors import EspalierError, StorageError, StorageFull
from adapters.store.objects import folder
from adapters.store.objects.artifacts import Artifacts
from service import errors

FULL = [
    OSError(errno.ENOSPC, "Kein Speicherplatz mehr"),
    OSError(errno.EDQUOT, "Disk quota exceeded"),
    RuntimeError("Generic LocalFileSystem error: Unable to copy data to file: No space left on device (os error 28)"),
    RuntimeError("Generic S3 error: 403 QuotaExceeded: Quota Exceeded"),
    RuntimeError("Generic S3 error: EntityTooLarge"),
]
NOT_FULL = [OSError(errno.EIO, "Input/output error"), RuntimeError("Generic S3 error: connection refused")]


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store that fails as it is told to, behind a route that puts something into it."""
    artifacts, app, fails = Artifacts(str(tmp_path)), FastAPI(), []
    errors.install(app)
    write = folder.Folder.write

    def fail(*arguments):
        if fails:
            raise fails[0]
        return write(*arguments)

    @app.post("/put")
    def save() -> str:
        return artifacts.put(b"a head")

    monkeypatch.setattr(folder.Folder, "write", fail)
    with TestClient(app, raise_server_exceptions=False) as client:
        client.fails, client.artifacts = fails, artifacts
        yield client


@pytest.mark.parametrize("reason", FULL, ids=str)
def test_no_space_left_is_507_and_nothing_is_stored(store, reason):
    """And with space again the same call succeeds."""
    store.fails.append(reason)
    answer = store.post("/put")
    assert (answer.status_code, answer.headers["content-type"]) == (507, "application/problem+json")
    assert answer.json()["code"] == "storage_full" and answer.json()["status"] == 507
    assert "space" in answer.json()["detail"] and "retry-after" not in answer.headers
    store.fails.clear()
    digest = store.post("/put")
    assert digest.status_code == 200 and store.artifacts.get(digest.json()) == b"a head"


@pytest.mark.parametrize("reason", NOT_FULL, ids=str)
def test_a_store_that_does_not_answer_is_another_matter(store, reason):
    """It may answer in a moment: 503, and when to come back."""
    store.fails.append(reason)
    answer = store.post("/put")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_error") and answer.headers["retry-after"]


def test_several_blobs_of_which_one_finds_no_room_are_refused_as_full(store):
    """As one blob would be."""
    store.fails.append(FULL[0])
    with pytest.raises(StorageFull):
        store.artifacts.put_all([("0" * 64, lambda: b"a"), ("1" * 64, lambda: b"b")])


@pytest.mark.parametrize(("error", "status"), [(StorageFull, 507), (StorageError, 503), (EspalierError, 500)])
def test_the_table_says_so(error: type[EspalierError], status: int):
    """Full is the server's trouble, and unlike that of a store that is away."""
    assert errors.status_of(error("x"))[0] == status
