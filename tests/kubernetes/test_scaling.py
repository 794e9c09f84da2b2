"""What autoscalers ask Prometheus about: this installation and no other."""

import re
from itertools import chain

import pytest
from support.kubernetes import rendering
from support.kubernetes.rendering import Object

WHOSE = re.compile(r'{namespace="(.*?)",job="(.*?)"}')


@pytest.fixture(scope="module")
def both() -> list[list[Object]]:
    """What kustomize and helm make with KEDA."""
    return [rendering.kustomize("gpu"), rendering.helm(*rendering.example("gpu"))]


@pytest.mark.parametrize(("namespace", "release"), [("espalier", "espalier"), ("shop", "another")])
def test_the_chart_asks_about_its_own_release(namespace, release):
    """By the labels that the Prometheus operator adds: the namespace, and the name of the Service that it scrapes."""
    objects = rendering.helm(*rendering.example("gpu"), "--namespace", namespace, release=release)
    assert rendering.one(objects, "Service", release)
    assert asked(objects) == {"serve": (namespace, release), "worker": (namespace, release)}


def test_an_overlay_asks_about_its_own_namespace():
    assert asked(rendering.kustomize("gpu")) == dict.fromkeys(("serve", "worker"), ("espalier", "espalier"))


def test_the_guides_example_of_another_namespace_asks_about_that(tmp_path):
    objects = rendering.beside_a_checkout(rendering.guides("namespace: shop"), tmp_path)
    assert rendering.one(objects, "Deployment")["metadata"]["namespace"] == "shop"
    assert asked(objects) == dict.fromkeys(("serve", "worker"), ("shop", "espalier"))


def test_workers_are_scaled_by_what_they_could_take_up(both):
    """And not by unfinished jobs, of which one that is done in a hundred parts is one."""
    for objects in both:
        assert questions(objects)["worker"][0]["query"].startswith("max(espalier_work_waiting{")


def test_no_worker_that_is_at_work_is_one_too_many(both):
    """KEDA takes the largest answer: one worker for each job that is at work, though nothing waits."""
    for objects in both:
        _, running = questions(objects)["worker"]
        assert running["query"].startswith("max(espalier_jobs_running{") and running["threshold"] == "1"


def test_with_the_hpa_workers_are_as_many_as_is_said(tmp_path):
    """The guide's example; no autoscaler would change it."""
    objects = rendering.beside_a_checkout(rendering.guides("count: 3"), tmp_path)
    scaled = [o["spec"]["scaleTargetRef"]["name"] for o in rendering.of_kind(objects, "HorizontalPodAutoscaler")]
    assert rendering.one(objects, "StatefulSet")["spec"]["replicas"] == 3 and scaled == ["espalier-serve"]
    assert rendering.of_kind(objects, "ScaledObject") == []


def test_who_asks_about_nobody_hears_of_it(both):
    """Where nothing has the metric, because it is asked in another namespace, that is an error and not a 0."""
    for objects in both:
        for question in chain(*questions(objects).values()):
            assert question["ignoreNullValues"] == "false" and " or " not in question["query"]


def asked(objects: list[Object]) -> dict[str, tuple[str, ...]]:
    """(namespace, job) by who is scaled."""
    found = {
        who: {WHOSE.search(each["query"]).groups() for each in several} for who, several in questions(objects).items()
    }
    return {who: only for who, (only,) in found.items()}


def questions(objects: list[Object]) -> dict[str, list[dict[str, str]]]:
    """What Prometheus is asked by who is scaled."""
    found = {}
    for scaler in rendering.of_kind(objects, "ScaledObject"):
        triggers = [one["metadata"] for one in scaler["spec"]["triggers"] if one["type"] == "prometheus"]
        found[scaler["metadata"]["name"].rpartition("-")[2]] = triggers
    return found
