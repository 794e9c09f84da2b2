"""Every line tells whose it is, in one form, whatever is in it."""

import io
import json
import logging
import sys
import threading

import pytest

from adapters.errors import InvalidInput
from service.access.principal import Call, Principal, calling
from service.operations import logs, requests, tracing
from service.operations.requests import Origin

ODD = 'a\nb\r\x1b[31mred\x85 \u2028 "q" \\ \ud800 é'
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch):
    """Configures logging as asked, and gives what was written since."""
    kept = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).propagate) for name in _names()}
    levels, hooks = logging.getLogger("espalier").level, (sys.excepthook, threading.excepthook)
    out = io.StringIO()

    def configured(form: str, level: str = "info") -> io.StringIO:
        monkeypatch.setattr(sys, "stderr", out)  # here, since pytest puts its own there before the test begins
        logs.configure(level, form)
        return out

    yield configured
    for name, (handlers, propagate) in kept.items():
        logging.getLogger(name).handlers, logging.getLogger(name).propagate = handlers, propagate
    logging.getLogger("espalier").setLevel(levels)
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook = hooks


def _names() -> list[str]:
    return [*logs.THEIRS, logs.OURS, "uvicorn.access"]


def test_a_line_of_json_is_an_object_with_all_that_is_known(lines) -> None:
    out = lines("json")
    who = Call(Principal("acme", "key_1", ("predict",)), "predict")
    with requests.answering(Origin("r-1", PARENT)), calling(who), logs.about(job_id="job_1", head="cats", version=3):
        logging.getLogger("espalier.worker").info("said %s", ODD)
    logging.getLogger("bentoml").warning("of another")
    first, second = [json.loads(line) for line in out.getvalue().splitlines()]
    assert first.pop("time").endswith("Z") and first.pop("process")
    assert first == {
        "level": "info", "logger": "espalier.worker", "message": f"said {ODD}", "request_id": "r-1", "tenant": "acme",
        "principal": "key_1", "job_id": "job_1", "head": "cats", "version": 3,
    }  # fmt: skip
    assert (second["logger"], second["message"]) == ("bentoml", "of another") and "request_id" not in second


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_message_can_end_its_line_or_move_a_cursor(lines, form) -> None:
    out = lines(form)
    with logs.about(head=ODD):
        logging.getLogger("espalier.x").info("%s", ODD)
    written = out.getvalue()
    assert written.count("\n") == 1 and written.endswith("\n")
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u2028\u2029" for c in written[:-1])


def test_an_error_is_one_line_of_json_and_so_is_what_nobody_caught(lines) -> None:
    out = lines("json")
    try:
        raise ValueError("of mine")
    except ValueError as error:
        logging.getLogger("espalier.x").exception("it failed")
        sys.excepthook(ValueError, error, error.__traceback__)
    thread = threading.Thread(target=lambda: 1 / 0)
    thread.start()
    thread.join()
    found = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["level"] for line in found] == ["error", "critical", "critical"]
    assert "ValueError: of mine" in found[0]["exception"] and "ZeroDivisionError" in found[2]["exception"]


def test_text_tells_it_at_the_end_of_the_line(lines) -> None:
    out = lines("text")
    with logs.about(job_id="job_1"):
        logging.getLogger("espalier.worker").info("took it up")
    logging.getLogger("espalier.worker").info("waits")
    assert [line.partition(" INFO ")[2] for line in out.getvalue().splitlines()] == [
        "espalier.worker: took it up [job_id=job_1]", "espalier.worker: waits",
    ]  # fmt: skip


def test_libraries_write_each_line_once(lines) -> None:
    logging.getLogger("dbos").addHandler(logging.StreamHandler(sys.stderr))
    out = lines("text")
    for name in ("dbos", "uvicorn.error", "circus", "bentoml.serve", "some.library"):
        logging.getLogger(name).error("x")
    assert [line.split()[3] for line in out.getvalue().splitlines()] == [
        "dbos:", "uvicorn.error:", "circus:", "bentoml.serve:", "some.library:",
    ]  # fmt: skip


def scope(*headers: tuple[bytes, bytes]) -> dict:
    return {"headers": [(b"host", b"x"), *headers]}


@pytest.mark.parametrize("good", ["a", "req-42", "a/b:c=d@e+f._-", "x" * 128])
def test_a_good_id_is_taken(good: str) -> None:
    assert requests.of(scope((b"x-request-id", good.encode()))).request_id == good


@pytest.mark.parametrize("bad", [b"", b"x" * 129, b"a b", b"a\nb", b"-rf", b"$(x)", b"\xff", b"a\x00", b'"', b"<b>"])
def test_a_bad_id_is_replaced(bad: bytes) -> None:
    found = requests.of(scope((b"x-request-id", bad))).request_id
    assert len(found) == 32 and found.encode() != bad
    twice = requests.of(scope((b"x-request-id", b"a"), (b"x-request-id", b"b"))).request_id
    assert len(twice) == 32


def test_a_trace_is_kept_and_gives_the_id_where_there_is_no_other() -> None:
    trace = (b"traceparent", PARENT.encode())
    assert requests.of(scope(trace)) == Origin("4bf92f3577b34da6a3ce929d0e0e4736", PARENT)
    assert requests.of(scope(trace, (b"x-request-id", b"mine"))) == Origin("mine", PARENT)
    later = PARENT.replace("00-", "cc-", 1) + "-what-will-be"
    assert requests.of(scope((b"traceparent", later.encode()))).traceparent == PARENT


@pytest.mark.parametrize("bad", [
    "", "00", PARENT.upper(), PARENT.replace("00-", "ff-", 1), PARENT[:-1], PARENT + "0",
    "00-" + "0" * 32 + PARENT[35:], PARENT[:36] + "0" * 16 + "-01", PARENT + "\n", "x" * 100_000,
])  # fmt: skip
def test_a_trace_that_is_none_is_left_out(bad: str) -> None:
    assert requests.of(scope((b"traceparent", bad.encode()))).traceparent is None


def test_traces_without_the_extra_are_refused_with_a_sentence(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    with pytest.raises(InvalidInput, match="needs the extra `otel`"):
        tracing.require()
