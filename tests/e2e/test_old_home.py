"""An installation from before there were taps: it answers as it did, and moves when its owner wants it to.

`fixtures/home-without-taps.tar.xz` is the folder that `espalier serve` of the commit before taps left behind after two
jobs on pictures of shapes and one on numbers, in int8, without the fp32 graph that its variant was made from (which
nothing asks for) and without mapped files; beside it is what that service said.
"""

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from support.pictures import SHAPES, shape, shapes
from support.services import Service, espalier

from service.client import ApiError

FIXTURES = Path(__file__).parents[1] / "fixtures"
WANTED = json.loads((FIXTURES / "home-without-taps.json").read_text())
OLD, NEW = "tf_efficientnet_lite0-int8", "tf_efficientnet_lite0-taps-int8"
ASKED = [shape(kind, 9000 + n) for kind in SHAPES[:3] for n in range(2)]
HEADS = ["shapes", "shapes@1", "counts"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with tarfile.open(FIXTURES / "home-without-taps.tar.xz") as archive:
        archive.extractall(tmp_path / "home", filter="data")
    return tmp_path / "home"


@pytest.fixture
def old(own_server) -> Service:
    return own_server(precision="int8")


def said(answers: list[dict]) -> list[tuple]:
    return [(a["index"], a["head"], a["version"], a["digest"]) for a in answers]


def numbers(answers: list[dict]) -> list[float]:
    values = [a["top"] if "top" in a else [{"score": v} for v in a["values"].values()] for a in answers]
    return [entry["score"] for entries in values for entry in entries] + [a["novelty"] for a in answers]


def answers_as_before(service: Service, heads: list[str], wanted: list[dict]) -> None:
    answers = service.client.predict(heads, ASKED, top_k=3)["predictions"]
    assert said(answers) == said(wanted)
    np.testing.assert_allclose(numbers(answers), numbers(wanted), atol=1e-4)


def test_it_answers_as_it_did(old):
    """Same versions, digests and scores; embeddings of the same length, and no taps where there are none."""
    answers_as_before(old, HEADS, WANTED["predictions"])
    told = old.client.embed(ASKED[:2], taps=True)
    assert (np.shape(told["embeddings"]), told["taps"], told["backbone"]) == ((2, 1280), [], OLD)
    np.testing.assert_allclose([row[::40] for row in told["embeddings"]], WANTED["values"], atol=1e-3)


@pytest.mark.slow
def test_its_reports_are_told_in_the_words_of_today(old):
    """They are stored with `more_images`."""
    curve = old.client.report("counts")["curve"]
    assert curve["more_inputs"] == "unclear" and "more_images" not in curve and curve["answer"].startswith("Cannot")


@pytest.mark.slow
def test_its_heads_learn_on_what_they_have(old):
    """A new batch trains on the old backbone, reads its last layer, and finds what was embedded before."""
    job = old.client.wait(old.client.finetune("shapes", shapes(each=4, start=100))["id"])
    assert job["status"] == "succeeded" and job["report"]["embedding"]["cached"] == 24
    manifest = old.client.manifest("shapes", job["version"])
    assert (manifest["backbone"]["name"], manifest["reads"]) == (OLD, "pooled")
    assert manifest["inputs"]["embedding"] == ["batch", 1280] and job["report"]["data"]["examples"] == 36
    with pytest.raises(ApiError, match=f"{OLD}' has no taps to read; `espalier backbones upgrade {OLD}` adds one"):
        old.client.finetune("shapes", shapes(each=2), reads="taps")


@pytest.mark.slow
def test_it_moves_by_an_upgrade_and_a_rebuild(home, old):
    """The upgraded backbone stands beside the old one with the same `pooled`; a rebuilt head passes the gate on it."""
    espalier("backbones", "upgrade", OLD, home=home, precision="int8")
    before = {b["name"]: b for b in old.client.backbones()}
    assert before[NEW]["digest"] != before[OLD]["digest"] and before[NEW]["details"]["taps"]
    one, other = (np.array(old.client.embed(ASKED, backbone=name)["embeddings"]) for name in (OLD, NEW))
    np.testing.assert_array_equal(one, other)
    job = old.client.wait(old.client.rebuild("shapes", NEW)["id"])
    assert job["status"] == "succeeded" and job["report"]["gate"]["against"] == 2
    assert {row["reads"] for row in job["report"]["race"]} == {"pooled", "taps"}
    labels = [a["label"] for a in old.client.predict(["shapes"], ASKED, min_generation=4)["predictions"]]
    assert labels == [kind for kind in SHAPES[:3] for _ in range(2)]
    still = [a for a in WANTED["predictions"] if (a["head"], a["version"]) == ("shapes", 1)]
    answers_as_before(old, ["shapes@1"], still)


@pytest.mark.slow
def test_a_head_that_is_to_read_taps_does_not_move_to_where_there_are_none(home, old):
    """Refused when it is asked for, before there is a job."""
    espalier("backbones", "upgrade", OLD, home=home, precision="int8")
    job = old.client.wait(old.client.finetune("reader", shapes(each=4), backbone=NEW, reads="taps")["id"])
    assert job["status"] == "succeeded" and old.client.manifest("reader", 1)["reads"] == "taps"
    with pytest.raises(ApiError, match="has no taps to read"):
        old.client.rebuild("reader", OLD)


@pytest.mark.slow
def test_nothing_is_upgraded_twice(home):
    espalier("backbones", "upgrade", OLD, "--name", "again", home=home)
    refused = espalier("backbones", "upgrade", "again", home=home, check=False)
    assert refused.returncode == 1 and "has taps already" in refused.stderr


@pytest.mark.slow
def test_where_its_backbone_can_be_cut_is_read_in_its_graph(home, old):
    """Nothing was recorded when it was built; what is upgraded records it."""
    assert "cuts" not in {b["name"]: b for b in old.client.backbones()}[OLD]["details"]
    found = json.loads(espalier("backbones", "show", OLD, "--json", home=home).stdout)["details"]["cuts"]
    assert [cut["name"] for cut in found] == ["all", *(f"blocks.{stage}" for stage in range(7))]
    assert {cut["dtype"] for cut in found} == {"uint8"} and found[5]["shape"] == [112, 14, 14]
    made = json.loads(espalier("backbones", "upgrade", OLD, "--json", home=home, precision="int8").stdout)
    assert made["details"]["cuts"] == found
    assert {b["name"]: b for b in old.client.backbones()}[NEW]["details"]["cuts"] == found
