"""Alerts fire when they should, about metrics that there are, and each has a page that says what to do."""

import re
import shutil
import subprocess

import pytest
import yaml
from support.kubernetes import rendering
from support.kubernetes.rendering import DEPLOY, Object
from support.services import PATIENCE, ROOT

from service import telemetry

RULES = yaml.safe_load((DEPLOY / "monitoring" / "alerts.yaml").read_text())["spec"]
ALERTS = [rule for group in RULES["groups"] for rule in group["rules"]]
RUNBOOKS = ROOT / "docs" / "runbooks"
OTHERS = {"kube_cronjob_created", "kube_cronjob_status_last_successful_time"}  # of kube-state-metrics


def names(text: str) -> set[str]:
    return set(re.findall(r"\b(?:espalier|kube)_[a-z_]+", text))


def series() -> set[str]:
    return {sample.name for family in telemetry.REGISTRY.collect() for sample in family.samples}


def test_alerts_ask_for_metrics_that_there_are():
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS) > 0
    for alert in ALERTS:
        assert names(alert["expr"]) and names(alert["expr"]) <= series() | OTHERS, alert["alert"]


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_autoscalers_ask_for_metrics_that_there_are(overlay):
    objects = rendering.kustomize(overlay)
    scalers = rendering.of_kind(objects, "HorizontalPodAutoscaler") + rendering.of_kind(objects, "ScaledObject")
    adapter = (DEPLOY / "kubernetes" / "components" / "hpa" / "prometheus-adapter.yaml").read_text()
    assert names(str(scalers)) and names(str(scalers) + adapter) <= series()


def test_the_backup_that_is_watched_is_the_one_that_is_made():
    """Whatever the release of the chart is called."""
    for release in ("espalier", "another"):
        objects = rendering.helm(*rendering.example("cpu"), release=release)
        made = rendering.one(objects, "CronJob")["metadata"]["name"]
        assert f'cronjob="{made}"' in str(rendering.one(objects, "PrometheusRule"))


@pytest.mark.parametrize("release", ["espalier", "another"])
def test_who_is_missed_is_this_installation(release):
    """By the labels that the Prometheus operator adds: the namespace, and the name of the Service that it scrapes."""
    objects = rendering.helm(*rendering.example("cpu"), "--namespace", "of-ours", release=release)
    assert _missed(objects) == ("of-ours", rendering.one(objects, "Service", release)["metadata"]["name"])


def test_of_kustomize_it_is_the_overlays():
    objects = rendering.kustomize("cpu")
    service = rendering.one(objects, "Service", "espalier")["metadata"]
    assert _missed(objects) == (service["namespace"], service["name"])


@pytest.mark.parametrize("overlay", ["cpu", "gpu"])
def test_in_another_namespace_it_is_the_one_there(overlay, tmp_path):
    own = rendering.guides("namespace: shop").replace("overlays/gpu", f"overlays/{overlay}")
    objects = rendering.beside_a_checkout(own, tmp_path)
    assert _missed(objects) == (rendering.one(objects, "Service", "espalier")["metadata"]["namespace"], "espalier")


def _missed(objects: list[Object]) -> tuple[str, str]:
    rules = rendering.one(objects, "PrometheusRule")["spec"]["groups"][0]["rules"]
    (expression,) = [rule["expr"] for rule in rules if rule["alert"] == "EspalierAbsent"]
    return re.fullmatch(r'absent\(espalier_generation{namespace="(.*)",job="(.*)"}\)', expression).groups()


def test_the_adapter_answers_the_autoscalers_question():
    folder = DEPLOY / "kubernetes" / "components" / "hpa"
    asked = names((folder / "autoscaler.yaml").read_text())
    rules = yaml.safe_load((folder / "prometheus-adapter.yaml").read_text())["rules"]["custom"]
    assert asked == {rule["name"]["as"] for rule in rules}


@pytest.mark.parametrize("alert", [alert["alert"] for alert in ALERTS])
def test_each_alert_has_a_page(alert):
    """Which says what it means, how to look, and what to do."""
    (rule,) = [rule for rule in ALERTS if rule["alert"] == alert]
    page = ROOT / rule["annotations"]["runbook"]
    assert page == RUNBOOKS / f"{alert}.md"
    text = page.read_text()
    assert text.startswith(f"# {alert}\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == [
        "## What it means", "## Look", "## Do",
    ]  # fmt: skip
    assert names(text) <= series() | {family.name for family in telemetry.REGISTRY.collect()}


def test_each_page_has_an_alert():
    assert {path.stem for path in RUNBOOKS.glob("*.md")} == {alert["alert"] for alert in ALERTS}


def test_each_alert_is_played_through():
    """In alerts_test.yaml: once where all is quiet, and once where it fires."""
    tests = yaml.safe_load((DEPLOY / "monitoring" / "alerts_test.yaml").read_text())["tests"]
    expected = [check for test in tests for check in test["alert_rule_test"]]
    fired = {check["alertname"] for check in expected if check["exp_alerts"]}
    silent = {check["alertname"] for check in expected if not check["exp_alerts"]}
    assert fired == silent == {alert["alert"] for alert in ALERTS}


@pytest.mark.slow
def test_prometheus_fires_them_when_it_should(tmp_path):
    promtool = rendering.tool("promtool")
    (tmp_path / "alerts.rules.yaml").write_text(yaml.safe_dump(RULES))
    shutil.copy(DEPLOY / "monitoring" / "alerts_test.yaml", tmp_path)
    for command in (["check", "rules", "alerts.rules.yaml"], ["test", "rules", "alerts_test.yaml"]):
        done = subprocess.run([promtool, *command], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, done.stdout + done.stderr
