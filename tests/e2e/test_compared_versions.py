"""Versions of a head, over HTTP: compared, and made anew on another backbone; of every modality."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.head_life import WAIT, ended, learn, refused, taught
from support.inputs import EVERY, Inputs, of_every_version, relabeled
from support.services import Service


def test_two_versions_are_compared_on_what_neither_learned(server, inputs):
    """Paired difference with an interval, McNemar's p, and the answers that changed, regressions first."""
    good, (one, other, third) = inputs.several(each=6, start=4250), inputs.kinds[:3]
    head = taught(server, "compare", [*good, *inputs.held_out(8, 4200)], field=inputs.field)
    turned = {one: other, other: one, third: third}
    learn(server, head, [relabeled(i, turned[i.label]) for i in good], deploy="manual", field=inputs.field)
    found = server.client.compare(head, "live", 2, limit=5)
    assert (found["a"], found["b"], found["examples"], found["skipped"]) == (1, 2, 24, 0)
    assert found["merit_a"] == 1.0 and found["a_better"] == 16 and found["b_better"] == 0
    assert found["difference"] == pytest.approx(-16 / 24) and found["p_value"] == pytest.approx(2**-15)
    low, high = found["difference_interval"]
    assert low < found["difference"] < high < 0
    assert found["changed_count"] == 16 and len(found["changed"]) == 5
    changed = found["changed"][0]
    assert changed["a"]["label"] == changed["label"] != changed["b"]["label"]
    assert changed["file_name"].startswith("t-")
    back = server.client.compare(head, 2, 1)
    assert back["difference"] == -found["difference"] and len(back["changed"]) == 16


@pytest.mark.slow
@of_every_version
def test_cross_validated_versions_are_compared_by_their_out_of_fold_answers(server, inputs):
    """The first one has no answer about a class that came later: only classes that both know count."""
    head = taught(server, "folds", inputs.several(each=6, start=4300), **inputs.asked())
    learn(server, head, inputs.several(inputs.kinds[3:4], each=4, start=4300), **inputs.asked())
    found = server.client.compare(head, 1, 2)
    assert found["examples"] == 18 and found["classes"] == sorted(inputs.kinds[:3])
    same_version = server.client.compare(head, 2, 2)
    assert same_version["difference"] == 0 and same_version["changed"] == [] and same_version["p_value"] == 1
    assert refused(server.client.compare, head, 1, 9) == (404, "version_not_found", f"{head}@9")
    assert refused(server.client.compare, head, 1, "canary")[:2] == (404, "version_not_found")
    assert refused(server.client.compare, head, 1, "0") == (422, "invalid_input", "0")
    assert refused(server.client.compare, "nobody", 1, 2)[:2] == (404, "head_not_found")


@pytest.fixture(scope="module")
def of_two_backbones(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, dict]]:
    """A service with a second backbone for each modality, and what these are called."""
    home = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("rebuilding") / "home"))
    others = {each.modality: each.other_backbone(home) for each in EVERY}
    service = Service(home)
    try:
        yield service.start(), others
    finally:
        service.stop()


@pytest.mark.slow
def test_a_head_is_rebuilt_on_another_backbone_from_its_stored_examples(of_two_backbones, inputs: Inputs):
    """A job as any other: every input is embedded anew, the gate looks, and the versions can be compared."""
    server, others = of_two_backbones
    name = others[inputs.modality]
    head = taught(server, "rebuild", inputs.several(each=5, start=4400), field=inputs.field)
    assert refused(server.client.rebuild, head, "vgg") == (404, "backbone_not_found", "vgg")
    job = ended(server, server.client.rebuild(head, name, deploy="manual", wait=WAIT))
    assert job["report"]["embedding"]["new"] == 15 and job["report"]["gate"]["examples"] == 15
    assert job["request"]["method"] == "prototype" and job["request"]["backbone"] == name
    assert server.client.manifest(head, 2)["backbone"]["name"] == name
    assert server.client.head(head)["live"] == 1
    assert server.client.compare(head, 1, 2)["examples"] == 15
