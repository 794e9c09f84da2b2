"""Secrets that are given to the service, or sent to it, come out nowhere: not in logs, answers, metrics, events or the
command line's words, whatever fails. Each is a word of its own, so that a leak says which it was."""

import base64
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from support import object_store, own_postgres, raw
from support.own_postgres import OwnPostgres
from support.pictures import shape, shapes
from support.services import Service, environment, eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
DATABASE, BUCKET, KEY, TOKEN, USER, COOKIE, QUERY, ADMIN, PEPPER = (
    f"canary-{name}-4b7e1d9a-0c52f6e8b3a7"
    for name in ("database", "bucket", "idempotency", "token", "basic", "cookie", "query", "admin", "pepper")
)
BASIC = base64.b64encode(f"somebody:{USER}".encode()).decode()
RIGHT = base64.b64encode(f"somebody:{ADMIN}".encode()).decode()
SECRETS = (DATABASE, BUCKET, KEY, TOKEN, USER, BASIC, COOKIE, QUERY, ADMIN, PEPPER, RIGHT)
SENT = {"Idempotency-Key": KEY, "Cookie": f"session={COOKIE}", "X-Api-Key": TOKEN}
BEARER, PASSWORD = {"Authorization": f"Bearer {ADMIN}"} | SENT, {"Authorization": f"Basic {RIGHT}"} | SENT
ITEM = f'"item":"{KEY}"'
STRANGERS = ({"Authorization": f"Bearer {TOKEN}"} | SENT, {"Authorization": f"Basic {BASIC}"} | SENT)


@dataclass(slots=True)
class Watched:
    """The service, and all that it has ever said."""

    service: Service
    database: OwnPostgres
    heard: list[str] = field(default_factory=list)

    def ask(self, method: str, path: str, **options: object) -> httpx.Response:
        """An answer, remembered with its headers."""
        answer = self.service.http.request(method, path, **options)  # type: ignore[arg-type]
        self.heard.append(f"{method}: {answer.headers} {answer.text}")
        return answer

    def check(self) -> None:
        """Nothing that was said has a secret in it. Whose key of requests conflicts is told which key: the item."""
        said = [*(text.replace(ITEM, "") for text in self.heard), self.service.log.read_text(errors="replace")]
        leaks = [
            (secret, text[max(text.find(secret) - 300, 0) :][:600])
            for text in said
            for secret in SECRETS
            if secret in text
        ]
        assert leaks == []


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """`espalier serve`, talkative, on a database and a bucket with secrets of their own."""
    with pytest.MonkeyPatch.context() as patch, own_postgres.running() as database:
        patch.setattr(object_store, "SECRET", BUCKET)
        folder = tmp_path_factory.mktemp("secrets")
        (folder / "bucket").mkdir()
        with object_store.running(folder / "bucket") as store:
            for name, value in store.environment().items():
                patch.setenv(name, value)
            url = database.url().replace("espalier@", f"espalier:{DATABASE}@")
            service = Service(
                folder / "home",
                {
                    "database_url": url,
                    "artifacts_url": store.url("x"),
                    "log_level": "debug",
                    "admin_key": ADMIN,
                    "key_pepper": PEPPER,
                },
            )
            yield Watched(service.start(), database)
            service.stop()


def images() -> list[tuple[str, tuple[str, bytes, str]]]:
    return [
        ("images", (f"{item.label}/{number}.png", bytes(item.data()), "image/png"))
        for number, item in enumerate(shapes())
    ]


def test_a_job_and_all_that_is_said_of_it(watched):
    labels = json.dumps([item.label for item in shapes()])
    sent = {"data": {"head": "canary", "labels": labels}, "files": images(), "headers": BEARER}
    job = watched.ask("POST", "/finetune", **sent)
    assert job.status_code in (200, 202), job.text
    address = f"/jobs/{job.json()['id']}"
    eventually(lambda: watched.ask("GET", address, headers=PASSWORD).json()["status"] in ("succeeded", "failed"))
    other = watched.ask("POST", "/finetune", **(sent | {"data": {"head": "another", "labels": labels}}))
    assert other.json()["code"] == "idempotency_conflict"
    for path in (
        "/jobs",
        address,
        f"{address}/events",
        "/heads",
        "/heads/canary",
        "/heads/canary/report",
        "/metrics",
        "/backbones",
    ):
        assert watched.ask("GET", path, headers=PASSWORD).status_code == 200
    assert watched.ask(
        "POST", "/predict", data={"head": "canary"}, files={"images": shape("circle", 1)}, headers=BEARER
    ).is_success
    watched.check()


def test_keys_are_shown_once_and_never_again(watched):
    asked = {"name": "shown once", "scopes": ["read"]}
    made = watched.service.http.post("/keys", json=asked, headers=BEARER)
    assert made.is_success, made.text
    secret = made.json()["key"]
    mine = {"Authorization": f"Bearer {secret}"}
    assert watched.ask("GET", "/heads", headers=mine).status_code == 200
    assert watched.ask("DELETE", "/heads/canary", headers=mine).status_code == 403
    assert watched.ask("GET", "/keys", headers=BEARER).status_code == 200
    assert watched.ask("GET", "/metrics", headers=BEARER).status_code == 200
    said = [*watched.heard, watched.service.log.read_text(errors="replace")]
    assert secret.startswith("esp_") and not [text[:300] for text in said if secret in text or secret[-20:] in text]


def test_mistakes_of_every_kind(watched):
    for headers in (BEARER, PASSWORD, *STRANGERS):
        for method, path in (
            ("GET", f"/heads?after={QUERY}&limit=x"),
            ("GET", f"/nowhere?key={QUERY}"),
            ("PUT", f"/predict?api_key={QUERY}"),
            ("POST", "/predict"),
            ("POST", "/bento/predict"),
            ("POST", "/finetune"),
            ("PATCH", "/heads/canary/examples/zz"),
            ("GET", "/jobs/none"),
        ):
            assert watched.ask(method, path, headers=headers).status_code >= 400
        assert watched.ask(
            "POST", "/predict", content=b"{", headers=headers | {"Content-Type": "application/json"}
        ).is_error
        assert watched.ask("GET", "/heads", headers=headers | {"Host": "evil.example"}).status_code == 403
    for more in (f"Authorization: Bearer {TOKEN}\x00", f"Authorization {TOKEN}", f"Idempotency-Key: {KEY * 4000}"):
        answer = raw.exchange(watched.service.port, raw.get("/heads", more))
        watched.heard.append(f"{answer.headers} {answer.body.decode()}")
        assert answer.status >= 400
    watched.check()


def test_what_is_said_while_the_bucket_refuses_and_the_database_is_away(watched, tmp_path: Path):
    watched.database.stop()
    for path in ("/heads", "/jobs", "/heads/canary", "/metrics"):
        watched.ask("GET", path, headers=BEARER)
    assert watched.ask("GET", "/heads", headers=BEARER).status_code == 503
    files = {"images": ("a/1.png", shape("circle", 1), "image/png")}
    assert watched.ask("POST", "/finetune", data={"head": "away"}, files=files, headers=BEARER).is_error
    time.sleep(3)  # the worker looks for jobs meanwhile, and logs that it cannot
    watched.database.start()
    eventually(lambda: watched.ask("GET", "/heads", headers=BEARER).status_code == 200)
    watched.check()


@pytest.mark.parametrize(
    "settings",
    [
        {"database_url": f"postgresql+psycopg://espalier:{DATABASE}@127.0.0.1:9/espalier"},
        {"database_url": f"postgresql+psycopg://espalier:{DATABASE}@127.0.0.1:port/espalier"},
        {"database_url": f"postgres+wrong://espalier:{DATABASE}@127.0.0.1/espalier"},
        {"database_url": f"espalier:{DATABASE}@127.0.0.1"},
        {"artifacts_url": f"s3://{BUCKET}:{BUCKET}@x"},
    ],
)
@pytest.mark.parametrize("command", ["init", "check", "worker"])
def test_what_commands_say_of_settings_that_are_wrong(command, settings, tmp_path, monkeypatch):
    """`worker` waits for a database that is away: it is listened to for a while."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", BUCKET)
    with (tmp_path / "said").open("wb") as out:
        env = environment(tmp_path / "home", **settings)
        process = subprocess.Popen([sys.executable, "-m", "service.cli", command], env=env, stdout=out, stderr=out)
        eventually(lambda: (tmp_path / "said").stat().st_size > 0 or process.poll() is not None)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        process.kill()
        code = process.wait()
    said = (tmp_path / "said").read_text()
    assert code != 0 and said and not [secret for secret in SECRETS if secret in said], said[-3000:]
