"""Postgres is configuration, not code: the main job and its crash safety on it."""

import pytest
import sqlalchemy as sa
from support.pictures import shape, shapes
from support.services import eventually, kill

from adapters.store.schema import metadata

pytestmark = pytest.mark.postgres


@pytest.fixture
def empty(postgres: str) -> str:
    """The URL of the database, emptied of our tables and of DBOS's."""
    engine = sa.create_engine(postgres)
    with engine.begin() as connection:
        metadata.drop_all(connection)
        for thing in ("TABLE IF EXISTS alembic_version", "SCHEMA IF EXISTS dbos CASCADE"):
            connection.execute(sa.text(f"DROP {thing}"))
    engine.dispose()
    return postgres


def test_a_head_is_taught_served_and_survives_kills_on_postgres(own_server, empty, tmp_path):
    """A worker killed while training and a killed server, as on SQLite; two serving processes agree on the head."""
    plan = tmp_path / "plan"
    plan.mkdir()
    service = own_server(plan=plan, database_url=empty, worker_id="one")
    job = service.client.finetune("kill-training", shapes(), method="prototype")
    assert service.client.wait(job["id"])["status"] == "succeeded"
    assert (plan / f"{job['id']}-training").exists()
    image = shape("triangle", 55)
    wanted = service.client.predict(["kill-training"], [image])["predictions"]
    assert wanted[0]["label"] == "triangle"
    for pid in service.pids("service.app"):
        kill(pid)
    assert eventually(lambda: service.client.predict(["kill-training"], [image]))["predictions"] == wanted
    second = own_server(database_url=empty, worker_id="two")
    assert second.client.predict(["kill-training"], [image])["predictions"] == wanted
    moved = second.client.wait(second.client.finetune("kill-training", shapes(("cross",)), method="prototype")["id"])
    assert moved["version"] == 2
    for each in (service, second):
        eventually(lambda each=each: each.client.predict(["kill-training"], [image])["predictions"][0]["version"] == 2)
