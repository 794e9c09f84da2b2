"""Versions of a head, over HTTP: compared, and made anew on another backbone."""

import pytest
from support.head_life import WAIT, ended, learn, refused, taught
from support.pictures import SHAPES, labeled, shape, shapes


def test_two_versions_are_compared_on_what_neither_learned(server):
    """Paired difference with an interval, McNemar's p, and the answers that changed, regressions first."""
    held_out = [labeled(f"t-{k}-{n}.png", shape(k, 4200 + n), k, "test") for k in SHAPES[:3] for n in range(8)]
    good = shapes(each=6, start=4250)
    head = taught(server, "compare", [*good, *held_out])
    turned = {"circle": "square", "square": "circle", "triangle": "triangle"}
    learn(server, head, [labeled(i.file_name, i.data(), turned[i.label]) for i in good], deploy="manual")
    found = server.client.compare(head, "live", 2, limit=5)
    assert (found["a"], found["b"], found["examples"], found["skipped"]) == (1, 2, 24, 0)
    assert found["merit_a"] == 1.0 and found["a_better"] == 16 and found["b_better"] == 0
    assert found["difference"] == pytest.approx(-16 / 24) and found["p_value"] == pytest.approx(2**-15)
    low, high = found["difference_interval"]
    assert low < found["difference"] < high < 0
    assert found["changed_count"] == 16 and len(found["changed"]) == 5
    one = found["changed"][0]
    assert one["a"]["label"] == one["label"] != one["b"]["label"] and one["file_name"].startswith("t-")
    back = server.client.compare(head, 2, 1)
    assert back["difference"] == -found["difference"] and len(back["changed"]) == 16


def test_cross_validated_versions_are_compared_by_their_out_of_fold_answers(server):
    """The first one has no answer about a class that came later: only classes that both know count."""
    head = taught(server, "folds", shapes(each=6, start=4300))
    learn(server, head, shapes(("cross",), each=4, start=4300))
    found = server.client.compare(head, 1, 2)
    assert found["examples"] == 18 and found["classes"] == sorted(SHAPES[:3])
    same_version = server.client.compare(head, 2, 2)
    assert same_version["difference"] == 0 and same_version["changed"] == [] and same_version["p_value"] == 1
    assert refused(server.client.compare, head, 1, 9) == (404, "version_not_found", f"{head}@9")
    assert refused(server.client.compare, head, 1, "canary")[:2] == (404, "version_not_found")
    assert refused(server.client.compare, head, 1, "0") == (422, "invalid_input", "0")
    assert refused(server.client.compare, "nobody", 1, 2)[:2] == (404, "head_not_found")


def test_a_head_is_rebuilt_on_another_backbone_from_its_stored_examples(own_server, home, tmp_path):
    """A job as any other: every image is embedded anew, the gate looks, and the versions can be compared."""
    from support.services import espalier

    espalier("backbones", "add", "resnet18", "size=64", "--weights", "random", "--name", "tiny", home=home)
    server = own_server()
    head = taught(server, "rebuild", shapes(each=5, start=4400))
    assert refused(server.client.rebuild, head, "vgg") == (404, "backbone_not_found", "vgg")
    job = ended(server, server.client.rebuild(head, "tiny", deploy="manual", wait=WAIT))
    assert job["report"]["embedding"]["new"] == 15 and job["report"]["gate"]["examples"] == 15
    assert job["request"]["method"] == "prototype" and job["request"]["backbone"] == "tiny"
    assert server.client.manifest(head, 2)["backbone"]["name"] == "tiny"
    assert server.client.head(head)["live"] == 1
    assert server.client.compare(head, 1, 2)["examples"] == 15
