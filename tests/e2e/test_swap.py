"""Swaps under load: no request fails, and every answer is wholly one version's, the one that it names."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import httpx
import pytest
from support import downloaded
from support.pictures import shape, shapes
from support.services import Service, eventually

from service.client import ApiError

CONNECTIONS = 4


@dataclass
class Load:
    """Clients that ask without a pause until told to stop."""

    service: Service
    heads: list[str]
    image: bytes
    answers: list[dict] = field(default_factory=list)
    failures: list[object] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> "Load":
        self.threads = [threading.Thread(target=self._ask) for _ in range(CONNECTIONS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def _ask(self) -> None:
        with httpx.Client(base_url=self.service.url, timeout=60) as client:
            while not self.stop.is_set():
                try:
                    response = client.post("/predict", data={"head": self.heads}, files={"images": self.image})
                except httpx.TransportError as error:
                    self.failures.append(repr(error))
                    continue
                (self.answers if response.status_code == 200 else self.failures).append(response.json())


def teach(service: Service, head: str, kinds: tuple[str, ...], **options: object) -> dict:
    job = service.client.finetune(head, shapes(kinds), wait=60, **({"method": "prototype"} | options))
    return service.client.wait(job["id"])


def scores(service: Service, head: str, image: bytes) -> dict[int, tuple[str, dict[str, float]]]:
    """Version → (digest, what its own graph says of the image), run here with onnxruntime."""
    embedding = downloaded.embedded(service, [image])
    found = {}
    for version in service.client.head(head)["versions"]:
        row = downloaded.asked(service.client.graph(head, version["version"]), embedding)[0]
        found[version["version"]] = version["digest"], dict(zip(version["labels"], row.tolist(), strict=True))
    return found


def test_no_request_fails_and_no_answer_mixes_versions_while_heads_are_swapped(server):
    """Publishes and alias moves during sustained load, every answer checked against the version it names."""
    head, image = "swapped", shape("circle", 80)
    teach(server, head, ("circle", "square"))
    with Load(server, [head, f"{head}@live"], image) as load:
        for kind in ("triangle", "cross", "bar"):
            teach(server, head, (kind,))
        for version in (1, 2, 3, 4, 1, 4) * 3:
            server.client.set_alias(head, "live", version)
            time.sleep(0.1)
        eventually(lambda: load.answers[-1]["predictions"][0]["version"] == 4)
    assert not load.failures
    truth = scores(server, head, image)
    assert len(truth) == 4
    for answer in load.answers:
        for row in answer["predictions"]:
            digest, wanted = truth[row["version"]]
            assert row["digest"] == digest
            assert {t["label"]: t["score"] for t in row["top"]} == pytest.approx(wanted, abs=1e-5)
    seen = Counter(answer["predictions"][0]["version"] for answer in load.answers)
    assert len(seen) >= 2, f"only {seen} answered: nothing was swapped under load"


def test_generations_never_go_back(server):
    """One connection sees the generation grow, never shrink, while aliases move."""
    head, image = "forward", shape("circle", 81)
    teach(server, head, ("circle", "square"))
    teach(server, head, ("triangle",))
    seen = []
    for turn in range(10):
        server.client.set_alias(head, "live", 1 + turn % 2)
        seen += [server.client.predict([head], [image])["generation"] for _ in range(5)]
    assert seen == sorted(seen)


@pytest.mark.parametrize("harm", ["missing", "altered"])
def test_a_version_whose_graph_is_damaged_leaves_the_old_one_serving(server, harm):
    """The blob is missing or altered: the old version answers until the new one can be loaded, then that one does."""
    head, image = f"harmed-{harm}", shape("circle", 82)
    teach(server, head, ("circle", "square"))
    assert server.client.predict([head], [image])["predictions"][0]["version"] == 1
    teach(server, head, ("triangle",), deploy="manual")
    digest = server.client.head(head)["versions"][0]["digest"]
    path = server.artifacts / "blobs" / digest[:2] / digest
    sound = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        path.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    with pytest.raises(ApiError, match="points at version 1, not at 2"):
        server.client.set_alias(head, "live", 2, expected=2)
    moved = server.client.set_alias(head, "live", 2, expected=1)
    answer = eventually(lambda: _at(server, head, image, moved["generation"]))
    assert answer["predictions"][0]["version"] == 1
    asked = server.http.post("/predict", data={"head": f"{head}@2"}, files={"images": image})
    assert (asked.status_code, asked.json()["code"]) == (503, "head_damaged")
    path.write_bytes(sound)
    eventually(lambda: server.client.predict([head], [image])["predictions"][0]["version"] == 2)


def _at(server: Service, head: str, image: bytes, generation: int) -> dict | None:
    answer = server.client.predict([head], [image])
    return answer if answer["generation"] >= generation else None
