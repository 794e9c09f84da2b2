"""A modality that is one file of the tests is sent, named, taught and shown, without a line changed in service/."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.zips import zipped

from adapters import modalities
from adapters.errors import InvalidArchive, InvalidInput, WrongModality
from service.api import openapi
from service.intake import fields
from service.intake.datasets import kinds, probing, sources
from service.intake.datasets.items import Content
from service.intake.datasets.layout import Hints
from service.settings import Settings
from service.web import pages

FOLDER = Path(__file__).parents[2] / "support" / "modalities"
STRANDS = [(f"{kind}/{n}.dna", kind, text) for kind, text in (("warm", b"ATTA"), ("cold", b"CGGC")) for n in (1, 2)]


@pytest.fixture(autouse=True)
def dropped_in(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder of the tests beside ours; what was remembered of modalities is forgotten before and after."""
    remembered = (fields.known, fields.of_media_type, fields.may_be_text, modalities.get)
    monkeypatch.setattr(modalities, "__path__", [*modalities.__path__, str(FOLDER)])
    for one in remembered:
        one.cache_clear()
    yield
    for one in remembered:
        one.cache_clear()
    sys.modules.pop("adapters.modalities.dna", None)


def test_it_has_a_field_a_media_type_and_a_limit_of_its_own() -> None:
    assert fields.known()["strands"] == "dna" and fields.of_media_type("text/x-dna") == "dna"
    assert not fields.may_be_text("strands") and "`strands`" in fields.listed()
    assert Settings().most["dna"] == 1000
    documented = openapi._fields()
    assert list(documented)[-1] == "inputs" and "DNA" in str(documented["strands"]) and "`strands`" in str(documented)


def test_what_it_is_asked_instead_is_said_in_its_words() -> None:
    fields.require("dna", "dna", "head", "x")
    fields.require(None, "dna", "head", "x")
    with pytest.raises(WrongModality, match=r"the head 'x' reads strands, not images; .* in the field 'strands'"):
        fields.require("image", "dna", "head", "x")
    with pytest.raises(InvalidInput, match="send `strands` or `images`, not both"):
        fields.the_one({"strands", "images", "head"}, fields.known())


def test_an_archive_of_it_is_told_by_suffix_and_by_bytes() -> None:
    received = sources.from_archive(zipped(*((name, data) for name, _, data in STRANDS), ("notes.txt", b"warm, cold")))
    assert received.modality == "dna" and received.passed_over == {"notes.txt": "text, not a strand"}
    assert {(i.example.file_name, i.example.label) for i in received.items} == {
        (name, kind) for name, kind, _ in STRANDS
    }
    assert not list(probing.unusable(received.items, modality="dna"))
    assert kinds.of_file("x.dna", b"") == "dna" and kinds.of_file("x", b"ACGT") == "dna"
    with pytest.raises(InvalidArchive, match=r"'a/1.dna' is a strand and 'b/2.jpg' an image"):
        sources.from_archive(zipped(("a/1.dna", b"ACGT"), ("b/2.jpg", b"\xff\xd8\xff")))
    with pytest.raises(WrongModality, match="is a strand, and the head reads a text"):
        sources.from_archive(zipped(*((name, data) for name, _, data in STRANDS)), hints=Hints(modality="text"))


def test_a_bad_one_is_named_in_its_words() -> None:
    received = sources.from_archive(zipped(("a/1.dna", b"ACGT"), ("b/2.dna", b"hello")))
    [(index, error)] = probing.unusable(received.items, modality="dna")
    assert index == 1 and error.message.startswith("strand 1 (b/2.dna): a strand is 1 to 1000 of the letters")
    sent = [Content.of(data, f"strand {n}") for n, (_, _, data) in enumerate(STRANDS)]
    with pytest.raises(InvalidInput, match="4 strands came with 1 labels; strand 1 has none"):
        sources.from_labels(sent, ["a"], "dna")


def test_the_report_shows_it() -> None:
    shown = pages._preview("0" * 64, lambda sha256: b"ACGT" * 100, modalities.get("dna"), 1000)
    assert shown == {"text": ("ACGT" * 100)[: pages.SIDE]}
    assert pages._preview("0" * 64, lambda sha256: b"ACGT", modalities.get("image"), 1000) is None
