"""A service with damaged blobs answers for all that is sound, says what is not, and is mended as it says."""

from pathlib import Path

import pytest
from support.pictures import shape, shapes
from support.services import Service, espalier, eventually

HEADS = ("cats", "dogs")


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def blob(service: Service, digest: str) -> Path:
    return service.artifacts / "blobs" / digest[:2] / digest


@pytest.mark.slow
def test_a_damaged_live_head_harms_nobody_else_and_is_taught_again(own_server):
    service: Service = own_server()
    for head in HEADS:
        job = service.client.finetune(head, shapes(), method="prototype")
        assert service.client.wait(job["id"])["status"] == "succeeded"
    digest = service.client.head("cats")["versions"][0]["digest"]
    service.settle()
    service.stop()
    flip(blob(service, digest))
    again: Service = own_server()
    image = shape("circle", 9)
    both = again.http.post("/predict", data={"head": HEADS}, files={"images": image}).json()
    assert [p["head"] for p in both["predictions"]] == ["dogs"]
    assert [(e["head"], e["code"]) for e in both["head_errors"]] == [("cats", "head_damaged")]
    alone = again.http.post("/predict", data={"head": "cats"}, files={"images": image})
    assert alone.status_code == 503 and alone.headers["content-type"] == "application/problem+json"
    assert "'cats' is damaged" in alone.json()["detail"] and alone.json()["item"] == "cats@1"
    # By another method: the same one would make the same graph, byte for byte, and so mend the first version.
    job = again.client.wait(again.client.finetune("cats", shapes(), method="ridge")["id"])
    assert job["status"] == "succeeded" and "loses by default" in str(job["report"]["gate"])
    eventually(lambda: again.client.predict(["cats"], [image])["predictions"][0]["version"] == 2)
    assert "Traceback" not in again.log.read_text()


@pytest.mark.slow
def test_a_damaged_backbone_and_a_damaged_cache_of_it_are_made_again(home):
    """The graph comes out the same when it is built once more."""
    for file in [*home.glob("artifacts/blobs/*/*"), *home.glob("mapped/*/*/weights.bin")]:
        flip(file)
    told = espalier("check", home=home, check=False)
    assert told.returncode == 1 and "the graph of the backbone tf_efficientnet_lite0" in told.stdout
    mended = espalier("check", "--repair", home=home, check=False)
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "everything is as it was stored" in espalier("check", home=home).stdout
