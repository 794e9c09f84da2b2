"""Keys and quotas on two replicas that share a Postgres: what one is told holds for the other."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from support.pictures import shapes
from support.services import Service, eventually

from service.client import ApiError, Client

pytestmark = pytest.mark.postgres
ADMIN = "the-operators-own-key-of-40-characters-!"
TENANT = "acme"


@pytest.fixture
def replicas(own_server, empty_postgres) -> list[Service]:
    more = {"database_url": empty_postgres, "admin_key": ADMIN}
    return [own_server(worker_id=name, **more) for name in ("one", "two")]


def operator(replica: Service, method: str, path: str, **body: object) -> dict:
    answer = httpx.request(
        method, replica.url + path, json=body, headers={"Authorization": f"Bearer {ADMIN}"}, timeout=60
    )
    assert answer.is_success, answer.text
    return answer.json()


def made(replica: Service, **more: object) -> dict:
    return operator(replica, "POST", "/keys", name="test", tenant=TENANT, scopes=["read", "teach", "manage"], **more)


def known(replicas: list[Service], key: dict) -> bool:
    """Whether all of them let it in; one that has looked for keys a moment ago looks again within a second."""
    return all(status(replica, key) == 200 for replica in replicas)


def status(replica: Service, key: dict) -> int:
    return httpx.get(f"{replica.url}/heads", headers={"Authorization": f"Bearer {key['key']}"}, timeout=60).status_code


@pytest.mark.slow
def test_a_key_lives_and_ends_on_both(replicas):
    """Made, rotated with an overlap, revoked and expired on one; the other has not been told by anybody."""
    one, two = replicas
    first = made(one)
    eventually(lambda: known(replicas, first))
    second = operator(one, "POST", f"/keys/{first['id']}/rotate", overlap_seconds=20)
    eventually(lambda: known(replicas, second) and known(replicas, first))  # side by side
    for replica in replicas:
        eventually(lambda replica=replica: status(replica, first) == 401)
        assert status(replica, second) == 200
    operator(one, "DELETE", f"/keys/{second['id']}")
    assert status(one, second) == 401, "at once where it was said"
    eventually(lambda: status(two, second) == 401)
    short = made(two, expires_in_days=20 / 86400)
    eventually(lambda: known(replicas, short))
    for replica in replicas:
        eventually(lambda replica=replica: status(replica, short) == 401)


@pytest.mark.slow
def test_jobs_that_race_on_both_do_not_pass_a_quota(replicas):
    """Half of them are sent to each, all at once: as many are accepted as there may be heads."""
    operator(replicas[0], "PUT", "/quotas", tenant=TENANT, limits={"heads": 3})
    key, items = made(replicas[0]), shapes(("circle", "square"), 8)
    eventually(lambda: known(replicas, key))
    clients = [Client(replica.url, key=key["key"], timeout=120) for replica in replicas]

    def teach(number: int) -> str:
        try:
            clients[number % 2].finetune(f"head-{number}", items, method="prototype")
            return "accepted"
        except ApiError as error:
            assert (error.status, error.problem["item"]) == (429, "heads"), error
            return error.code

    with ThreadPoolExecutor(12) as pool:
        told = list(pool.map(teach, range(12)))
    assert sorted(told) == ["accepted"] * 3 + ["quota_exceeded"] * 9
    for client in clients:
        used = client._http.get("/limits").json()["tenant"]
        assert (used["used"]["heads"], used["limits"]["heads"]) == (3, 3)
    rows = operator(replicas[1], "GET", "/audit?tenant=acme&limit=1000")["rows"]
    assert sum(row["action"] == "job.create" for row in rows) == 3
    eventually(lambda: all(job["status"] == "succeeded" for job in clients[0].jobs()))
    for client in clients:
        client.close()
