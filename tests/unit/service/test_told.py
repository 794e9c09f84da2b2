"""What a caller says of a folder that it read is taken in one shape, bounded, and marked as its word."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.errors import InvalidInput
from service.intake import told
from service.intake.datasets import screening
from service.intake.datasets.sources import Received

SAID: dict[str, Any] = {
    "layout": "one folder a class", "root": "pets/", "splits": {"Testing": "test"}, "names": "",
    "passed_over": {"count": 70, "list": [{"item": "a.txt", "reason": "text, not an image"}]},
}  # fmt: skip


def said(received: Any, *, archive: bool = False, manifest: bool = True) -> dict[str, Any]:
    text = received if isinstance(received, str) else json.dumps(received)
    upload: Any = SimpleNamespace(
        field=lambda name: {"received": text}.get(name),
        files=lambda name: ["an archive"] if archive else [],
        part=lambda name: object() if manifest else None,
    )
    return screening.told(told.added(Received([], {"layout": "manifest"}), upload))


def test_what_is_said_goes_into_the_job() -> None:
    expected = {name: SAID[name] for name in ("layout", "root", "splits", "passed_over")}
    assert said(SAID) == expected | {"read_by": "client"}
    assert said({"layout": "manifest"}) == {"layout": "manifest", "read_by": "client"}


def test_what_is_understood_is_what_is_sent() -> None:
    """The command line sends what the service would say of an archive, at its longest."""
    names = {f"{n}/" + "\u202e" * 300: "text, not an image" for n in range(200)}
    splits = {f"{n}" + "\U000e0001" * 300: "test" for n in range(200)}
    found = screening.told(Received([], {"layout": "manifest", "splits": splits, "root": "\n" * 999}, names))
    assert said(found)["passed_over"]["count"] == 200


@pytest.mark.parametrize(
    ("received", "says"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "'received'"),
        ("{}", "'received.layout'"),
        ('{"layout": "a", "layout": "b"}', "comes twice"),
        (SAID | {"layuot": "x"}, "unknown field 'layuot'; did you mean 'layout'"),
        (SAID | {"examples": 9}, "unknown field 'examples'"),
        (SAID | {"read_by": "server"}, "unknown field 'read_by'"),
        (SAID | {"layout": "x" * 2001}, "'received.layout'"),
        (SAID | {"layout": "a\nb"}, "cannot be shown"),
        (SAID | {"root": 3}, "'received.root'"),
        (SAID | {"splits": {"a": "b"}}, "'received.splits.a'"),
        (SAID | {"splits": {str(n): "test" for n in range(51)}}, "'received.splits'"),
        (SAID | {"passed_over": {"count": 0, "list": [{"item": "a", "reason": "b"}]}}, "less than what its list has"),
        (SAID | {"passed_over": {"count": -1, "list": []}}, "'received.passed_over.count'"),
        (SAID | {"passed_over": {"count": True, "list": []}}, "'received.passed_over.count'"),
        (SAID | {"passed_over": {"count": 51, "list": SAID["passed_over"]["list"] * 51}}, "'received.passed_over"),
        (SAID | {"passed_over": {"count": 1, "list": [{"item": "a", "reason": "b", "c": 1}]}}, "unknown field 'c'"),
        (" " * 500_001, "over 500,000 characters"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_its_place(received: Any, says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        said(received)
    assert caught.value.message.isprintable()


def test_it_comes_with_a_manifest_and_no_archive() -> None:
    for options in ({"archive": True}, {"manifest": False}):
        with pytest.raises(InvalidInput, match="files that you have read") as caught:
            said(SAID, **options)
        assert caught.value.item == "received"
