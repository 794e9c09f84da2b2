"""Metrics: a constant number of series, and a dashboard that draws what is there."""

import json
import logging
import re
from pathlib import Path

from adapters.runtime.meters import UNSEEN, Meters
from service import telemetry
from service.operations import logs

ROOT = Path(__file__).resolve().parents[3]
DASHBOARD = json.loads((ROOT / "deploy" / "monitoring" / "grafana.json").read_text())


def series() -> set[str]:
    return {sample.name for family in telemetry.REGISTRY.collect() for sample in family.samples}


def drawn() -> set[str]:
    texts = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    return {name for text in texts for name in re.findall(r"espalier_\w+", text)}


def test_every_series_of_the_dashboard_exists():
    assert drawn() and drawn() - series() == set()


def test_every_metric_is_on_the_dashboard():
    missing = {family.name for family in telemetry.REGISTRY.collect()}
    assert {name for name in missing if not any(found.startswith(name) for found in drawn())} == set()


def test_panels_stand_beside_each_other():
    places = [tuple(panel["gridPos"].values()) for panel in DASHBOARD["panels"]]
    assert len(set(places)) == len(places) == len({panel["id"] for panel in DASHBOARD["panels"]})


def test_no_metric_has_a_label_that_grows():
    """`le` is the bucket of a histogram, all others are of a few words, and tenants are counted to a bound
    (test_tenant_metrics); nothing names a head, a path or a client."""
    labels = {label for family in telemetry.REGISTRY.collect() for sample in family.samples for label in sample.labels}
    assert labels <= {"le", "reason", "arm", "outcome", "status", "limit", "quota", "kind", "level", "tenant"}


def test_every_measurement_of_the_library_is_a_metric():
    assert all(getattr(telemetry.METERS, name) is not getattr(UNSEEN, name) for name in Meters.__slots__)


def test_nobody_puts_access_lines_together_that_no_level_lets_pass(monkeypatch):
    """uvicorn asks its logger for handlers, whatever their level."""
    for name in ("espalier", "uvicorn.access"):
        logger = logging.getLogger(name)
        for attribute in ("handlers", "propagate", "level"):
            monkeypatch.setattr(logger, attribute, getattr(logger, attribute))
    logging.getLogger("uvicorn.access").handlers = [logging.NullHandler()]
    logs.configure("warning")
    assert not logging.getLogger("uvicorn.access").hasHandlers()


def test_what_strangers_send_stays_on_its_line_of_the_log(capsys):
    """No second record, no escape sequence; a traceback keeps its lines."""
    logs.configure("info")
    log = logging.getLogger("espalier.http")
    log.error("unexpected error at %s", "/heads/a\nb\x1b[2J\x00\x9b\u2028")
    try:
        raise ValueError("wrong")
    except ValueError:
        log.exception("at\rwork")
    first, *rest = capsys.readouterr().err.splitlines()
    assert first.endswith(r"/heads/a\x0ab\x1b[2J\x00\x9b\x2028")
    assert (
        rest[0].endswith(r"at\x0dwork")
        and rest[1] == "Traceback (most recent call last):"
        and rest[-1] == "ValueError: wrong"
    )
