"""keep_examples=false over HTTP: nothing of the examples is left, and what needs them is refused by one rule."""

import json
from typing import Any

import pytest
from support.pictures import shape, shapes
from support.services import Service, espalier
from support.teaching import KINDS, WAIT, taught, unique

from service.client import ApiError

pytestmark = pytest.mark.slow  # what it shows over HTTP, quick tests show of its parts

QUICK = {"method": "deep", "hyperparameters": json.dumps({"unfreeze": "blocks.5", "epochs": 1}), "views": "none"}
MORE = shapes((*KINDS, "bar"), each=5, start=900)


@pytest.fixture(scope="module")
def gone(server: Service) -> tuple[str, dict[str, Any]]:
    """A deep head whose examples were not kept, and the job that made it."""
    return taught(server, "gone", keep_examples=False, **QUICK)


def refused(call: Any, *arguments: Any, **options: Any) -> None:
    """By the one rule, with the way out."""
    with pytest.raises(ApiError) as found:
        call(*arguments, **options)
    assert (found.value.status, found.value.code) == (409, "examples_not_kept")
    assert "mode=replace" in found.value.problem["detail"]


def test_nothing_is_left_of_them_but_their_hashes(server, gone):
    head, job = gone
    assert job["request"]["keep_examples"] is False and server.client.manifest(head, 1)["data"]["kept"] is False
    assert list(server.client.examples(head)) == []
    assert "data:image" not in server.client.report_page(head)
    assert server.client.predict([head], [shape(KINDS[0], 700)])["predictions"][0]["version"] == 1
    assert espalier("check", home=server.home, check=False).returncode == 0


def test_a_backup_has_what_adding_to_it_begins_with(server, gone, tmp_path):
    """A blob of its own: lost, it is named with the way out. Of other heads of this server blobs may be damaged."""
    espalier("backup", str(tmp_path / "backup.tar"), home=server.home, check=False)
    espalier("restore", str(tmp_path / "backup.tar"), home=tmp_path / "new", check=False)
    program = server.client.manifest(gone[0], 1)["deep"]["program"]
    (tmp_path / "new" / "artifacts" / "blobs" / program[:2] / program).unlink()
    said = espalier("check", home=tmp_path / "new", check=False)
    assert said.returncode == 1 and f"adding to {gone[0]}@1" in said.stdout and "mode=replace" in said.stdout


def test_what_needs_them_is_refused_with_one_code(server, gone):
    head, client = gone[0], server.client
    refused(client.relabel, head, {"0" * 64: "cross"})
    refused(client.forget, head, ["0" * 64])
    refused(client.rename_labels, head, {KINDS[0]: "other"})
    refused(client.rebuild, head, "tf_efficientnet_lite0")
    refused(client.compare, head, 1, 1)
    refused(client.finetune, head, MORE, keep_examples=True)
    refused(client.finetune, head, MORE, deep="never")
    chosen = client.suggest(head, [shape(k, 800 + n) for n in range(3) for k in KINDS], count=2)
    assert chosen["strategy"] == "uncertain" and "not kept" in chosen["explanation"]


def test_a_class_of_which_nothing_came_and_manual_deployment_are_refused_before_a_job_is_made(server, gone):
    with pytest.raises(ApiError, match=f"nothing came of {sorted(KINDS)[0]}") as found:
        server.client.finetune(gone[0], [one for one in MORE if one.label != sorted(KINDS)[0]])
    assert found.value.code == "not_enough_data"
    with pytest.raises(ApiError, match="deploy=manual") as found:
        server.client.finetune(unique("never"), shapes(), keep_examples=False, deploy="manual")
    assert found.value.problem["item"] == "keep_examples"


def test_more_is_added_from_its_own_weights_and_its_report_says_what_became_of_earlier_classes(server, gone):
    """Nothing needs to be said again: a head without its examples keeps none of those that are added either."""
    job = server.client.finetune(gone[0], MORE, views="none", wait=WAIT)
    job = server.client.wait(job["id"])
    assert job["report"], job["error"]
    assert job["report"]["deep"]["begun_at"] == 1 and job["request"]["keep_examples"] is False
    forgetting = job["report"]["gate"]["forgetting"]
    assert forgetting["added"] == ["bar"] and forgetting["kept"]["examples"] == len(shapes())
    assert f"of the {len(KINDS)} earlier classes" in forgetting["meaning"]
    assert list(server.client.examples(gone[0])) == []
    assert "goes on from version 1" in server.client.report_page(gone[0], job["version"])
