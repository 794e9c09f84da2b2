"""A worker forgets what need not be kept: in our tables, in DBOS's and in files."""

import sqlite3
from contextlib import closing

import pytest
from support.pictures import shapes
from support.services import Service, eventually

from adapters.store import database
from service.client import ApiError

DBOS = ("workflow_status", "operation_outputs", "workflow_input", "workflow_output")
OURS = (
    "jobs", "job_events", "job_examples", "job_blobs", "examples", "embeddings", "heads", "versions", "aliases",
)  # fmt: skip


def recorded(service: Service) -> set[int]:
    """How many rows DBOS has in each of its tables."""
    with closing(sqlite3.connect(service.home / "jobs.sqlite")) as connection:
        return {connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in DBOS}


def teach(service: Service, head: str, start: int = 0) -> str:
    job = service.client.finetune(head, shapes(each=3, start=start), method="prototype", wait=60)
    assert job["status"] == "succeeded"
    return str(job["id"])


def test_versions_need_no_jobs_and_deleted_heads_leave_nothing(own_server) -> None:
    service = own_server(sweep_seconds=0.3, keep_jobs=0)
    backbones = service.blobs()
    first = teach(service, "shapes")
    second = teach(service, "shapes", start=3)
    teach(service, "others", start=6)
    eventually(lambda: recorded(service) == {0} and len(service.rows("jobs")) == 2)
    client = service.client
    with pytest.raises(ApiError, match="no job has the id"):
        client.job(first)
    assert client.job(second)["status"] == "succeeded"  # the head's present data are from it
    assert client.report("shapes", 1)["version"] == 1 and "<html" in client.report_page("shapes", 2)
    assert client.compare("shapes", 1, 2) and client.manifest("shapes", 2)["data"]
    assert client.head("shapes")["versions"][0]["version"] == 2 and client.predict(["shapes"], [shapes()[0].data()])
    example = next(iter(client.examples("shapes", label="circle")))
    assert client.relabel("shapes", {example["sha256"]: "square"}, wait=60)["status"] == "succeeded"
    for name in ("shapes", "others"):
        client.delete_head(name)
    eventually(lambda: recorded(service) == {0} and not any(service.rows(table) for table in OURS))
    eventually(lambda: service.blobs() == backbones)
    assert "Traceback" not in service.log.read_text()


@pytest.mark.slow
@pytest.mark.postgres
def test_nothing_of_a_deleted_head_is_left_on_postgres(own_server, empty_postgres) -> None:
    service = own_server(sweep_seconds=0.3, keep_jobs=0, database_url=empty_postgres)
    engine = database.connect(empty_postgres)

    def left() -> dict[str, int]:
        with database.reading(engine) as connection:
            tables = [*OURS, *(f"dbos.{table}" for table in DBOS)]
            counts = {t: connection.exec_driver_sql(f"SELECT count(*) FROM {t}").scalar_one() for t in tables}
        return {table: count for table, count in counts.items() if count}

    teach(service, "shapes")
    assert left()
    service.client.delete_head("shapes")
    eventually(lambda: not left())
    engine.dispose()
    assert "Traceback" not in service.log.read_text()
