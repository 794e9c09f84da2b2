"""The `espalier` command against a running service: what a person does on the first day."""

import json
import uuid
from pathlib import Path

import pytest
from support.pictures import shape, shapes, zipped
from support.services import espalier


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures on disk, one folder a class, and a manifest beside them."""
    root = tmp_path / "shapes"
    rows = []
    for image in shapes():
        path = root / image.label / image.file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image.data())
        rows.append({"file_name": f"shapes/{image.label}/{image.file_name}", "label": image.label})
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    archive = zipped((str(p.relative_to(root)), p.read_bytes()) for p in sorted(root.rglob("*.png")))
    (tmp_path / "shapes.zip").write_bytes(archive)
    return root


def run(server, *arguments: str, check: bool = True):
    return espalier(*arguments, "--server", server.url, home=server.home, check=check)


@pytest.mark.slow
@pytest.mark.parametrize("source", ["shapes", "shapes.zip", "list.jsonl"])
def test_a_folder_a_zip_and_a_manifest_teach_a_head(server, folder, source):
    """And the report is shown."""
    head = f"cli-{uuid.uuid4().hex[:8]}"
    shown = run(server, "finetune", head, str(folder.parent / source), "--method", "prototype").stdout
    assert "succeeded" in shown and "accuracy" in shown and "triangle" in shown
    assert "data: 0 of 24 labels look wrong" in shown
    assert server.client.head(head)["labels"] == ["circle", "square", "triangle"]


def test_the_first_day(server, folder, tmp_path):
    """Teach, ask, list, promote, look at jobs, delete."""
    head = f"day-{uuid.uuid4().hex[:8]}"
    job = json.loads(run(server, "finetune", head, str(folder), "--method", "prototype", "--json").stdout)
    assert job["status"] == "succeeded"
    image, bad = tmp_path / "ask.png", tmp_path / "bad.png"
    image.write_bytes(shape("square", 12))
    bad.write_bytes(b"no image")
    assert "square" in run(server, "predict", head, str(image)).stdout
    shown = run(server, "predict", head, str(image), "--coverage", "0.9", "--abstain", "0.9").stdout
    assert "novelty" in shown and "set" in shown and "square" in shown
    refused = run(server, "predict", head, str(image), "--coverage", "0.99", check=False)
    assert refused.returncode == 1 and "needs 99 held-out examples" in refused.stderr
    answer = json.loads(run(server, "predict", f"{head},{head}@1", str(image), "--json").stdout)
    assert [p["label"] for p in answer["predictions"]] == ["square"] * 2
    refused = run(server, "predict", head, str(bad), check=False)
    assert refused.returncode == 1 and "image 0" in refused.stderr and "Traceback" not in refused.stderr
    assert "invalid_image" in run(server, "predict", head, str(image), str(bad), "--skip-errors").stdout
    assert head in run(server, "heads", "list").stdout
    assert "live" in run(server, "heads", "show", head).stdout
    assert "would more examples help?" in run(server, "heads", "report", head).stdout
    assert json.loads(run(server, "heads", "report", head, "--version", "1", "--json").stdout)["version"] == 1
    assert "wrote" in run(server, "heads", "report", head, "--html", str(tmp_path / "report.html")).stdout
    assert (tmp_path / "report.html").read_text(encoding="utf-8").lstrip().startswith("<!DOCTYPE html>")
    assert "version 1" in run(server, "heads", "promote", head, "1", "--alias", "canary").stdout
    assert job["id"] in run(server, "jobs", "list", "--head", head).stdout
    assert "prototype" in run(server, "jobs", "show", job["id"]).stdout
    assert "succeeded" in run(server, "jobs", "cancel", job["id"]).stdout
    run(server, "heads", "delete", head)
    gone = run(server, "heads", "show", head, check=False)
    assert gone.returncode == 1 and "head_not_found" in gone.stderr


@pytest.mark.slow
def test_the_life_of_a_head(server, folder, tmp_path):
    """Look at examples, correct and take back some, rename, merge and drop classes, compare versions, rebuild."""
    head = f"life-{uuid.uuid4().hex[:8]}"
    run(server, "finetune", head, str(folder), "--method", "prototype")
    listed = run(server, "heads", "examples", head, "--label", "circle", "--split", "train").stdout
    assert "circle-0.png" in listed and "square" not in listed
    rows = json.loads(run(server, "heads", "examples", head, "--json").stdout)
    first, second = (e["sha256"] for e in rows if e["file_name"].endswith(("circle-0.png", "circle-1.png")))
    assert "whatever the gate says" in run(server, "heads", "relabel", head, f"{first}=square").stdout
    forgotten = run(server, "heads", "forget", head, second).stdout
    assert "succeeded" in forgotten and "deleted versions" in forgotten and "1, 2" in forgotten
    assert "succeeded" in run(server, "heads", "rename", head, "circle=ring").stdout
    changes = run(server, "heads", "compare", head, "3", "4").stdout
    assert "+0.0000" in changes and "0 answers changed" in changes
    merged = json.loads(run(server, "heads", "merge", head, "round", "ring", "square", "--json").stdout)
    assert merged["report"]["data"]["classes"] == {"round": 15, "triangle": 8}
    assert run(server, "heads", "drop", head, "round", check=False).returncode == 1
    backbone = server.client.head(head)["versions"][0]["backbone"]
    assert "succeeded" in run(server, "heads", "rebuild", head, backbone, "--deploy", "manual").stdout
    wrong = run(server, "heads", "relabel", head, "nonsense", check=False)
    assert wrong.returncode == 1 and "OLD=NEW" in wrong.stderr
    queued = run(server, "heads", "rename", head, "triangle=wedge", "--no-wait").stdout
    assert head in queued


def test_a_server_that_is_not_there_is_one_sentence(tmp_path):
    """With the command that starts one."""
    done = espalier("heads", "list", "--server", "http://127.0.0.1:9", home=tmp_path, check=False)
    assert done.returncode == 1
    assert "espalier serve" in done.stderr and "Traceback" not in done.stderr


def test_serve_says_in_a_sentence_why_it_cannot_start(tmp_path):
    """A device that is not there: what is wrong and what to do, and no traceback."""
    done = espalier("serve", "--port", "0", home=tmp_path / "home", check=False, device="tensorrt")
    assert done.returncode == 1
    assert "tensorrt was asked for, but" in done.stderr and "Traceback" not in done.stderr
