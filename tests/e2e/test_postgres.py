"""Postgres is configuration, not code: the main job and its crash safety on it."""

import pytest
from support.pictures import shape, shapes
from support.services import eventually, kill

pytestmark = pytest.mark.postgres


@pytest.mark.slow
def test_a_head_is_taught_served_and_survives_kills_on_postgres(own_server, empty_postgres, tmp_path):
    """A worker killed while training and a killed server, as on SQLite; two serving processes agree on the head."""
    plan = tmp_path / "plan"
    plan.mkdir()
    service = own_server(plan=plan, database_url=empty_postgres, worker_id="one")
    job = service.client.finetune("kill-training", shapes(), method="prototype")
    assert service.client.wait(job["id"])["status"] == "succeeded"
    assert (plan / f"{job['id']}-training").exists()
    image = shape("triangle", 55)
    wanted = service.client.predict(["kill-training"], [image])["predictions"]
    assert wanted[0]["label"] == "triangle"
    for pid in service.pids("service.app"):
        kill(pid)
    assert eventually(lambda: service.client.predict(["kill-training"], [image]))["predictions"] == wanted
    second = own_server(database_url=empty_postgres, worker_id="two")
    assert second.client.predict(["kill-training"], [image])["predictions"] == wanted
    moved = second.client.wait(second.client.finetune("kill-training", shapes(("cross",)), method="prototype")["id"])
    assert moved["version"] == 2
    for each in (service, second):
        eventually(lambda each=each: each.client.predict(["kill-training"], [image])["predictions"][0]["version"] == 2)
