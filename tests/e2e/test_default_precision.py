"""A new installation where nothing is said: int8 on a processor made for it, else fp32, and the main job on that."""

from pathlib import Path

import pytest
from support.pictures import shape, shapes
from support.services import Service

from adapters.backbones.cards import DEFAULT
from adapters.runtime.onnx import processor

WANTED = f"{DEFAULT}-int8" if processor.fast_int8() else DEFAULT


@pytest.mark.slow
def test_a_new_installation_teaches_and_serves_in_the_precision_that_suits_it(tmp_path: Path):
    """It says which; and its heads stay there under a setting that says otherwise for new ones."""
    service = Service(tmp_path / "home", {"precision": "auto"})
    try:
        client = service.start().client
        assert [b["name"] for b in client.backbones() if b["default"]] == [WANTED]
        job = client.finetune("shapes", shapes(("circle", "square", "cross")), wait=60)
        assert client.wait(job["id"])["status"] == "succeeded"
        assert client.manifest("shapes", 1)["backbone"]["name"] == WANTED
        answer = client.predict(["shapes"], [shape("square", 44)])["predictions"][0]
        assert (answer["label"], answer["version"]) == ("square", 1)
    finally:
        service.stop()
    later = Service(service.home, {"precision": "fp32"})
    try:
        client = later.start().client
        assert [b["name"] for b in client.backbones() if b["default"]] == [DEFAULT]
        assert client.predict(["shapes"], [shape("square", 44)])["predictions"][0] == answer
    finally:
        later.stop()
