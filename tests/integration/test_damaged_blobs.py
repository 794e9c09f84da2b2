"""A damaged blob harms as little as can be: a damaged version loses to its successor, and bytes sent again mend."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.training import COLOURS, Bench, Picture, bench, picture

from adapters import finetune as pipeline
from adapters.errors import CorruptArtifact, ExampleDamaged, HeadDamaged
from adapters.store import examples, heads
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Edit, Example, HeadRef, HeadVersion

LABELS = tuple(COLOURS)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Bench]:
    with bench(tmp_path) as made:
        yield made


def some(count: int, start: int = 0) -> list[Picture]:
    return [picture(n, LABELS[n % 3]) for n in range(start, start + count)]


def flip(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1] + bytes([path.read_bytes()[-1] ^ 1]))


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def empty(path: Path) -> None:
    path.write_bytes(b"")


HARM: list[Callable[[Path], None]] = [flip, cut, empty, Path.unlink]


def blob(artifacts: Artifacts, digest: str) -> Path:
    return artifacts.place.root / "blobs" / digest[:2] / digest


def harm(shop: Bench, digest: str, how: Callable[[Path], None] = flip) -> None:
    how(blob(shop.shop.artifacts, digest))


@pytest.mark.parametrize("how", HARM, ids=lambda how: how.__name__)
def test_bytes_that_are_sent_again_mend_a_damaged_blob(tmp_path, how):
    """One by one or many at a time; what is sound is not written again."""
    artifacts = Artifacts(str(tmp_path))
    digests = [artifacts.put(data) for data in (b"one", b"other", b"sound")]
    how(blob(artifacts, digests[0]))
    how(blob(artifacts, digests[1]))
    before = blob(artifacts, digests[2]).stat().st_ino
    artifacts.put(b"one")
    artifacts.put_all([(digests[1], lambda: b"other"), (digests[2], lambda: b"sound")])
    assert [artifacts.get(digest) for digest in digests] == [b"one", b"other", b"sound"]
    assert blob(artifacts, digests[2]).stat().st_ino == before


def test_objects_of_a_bucket_are_mended_too():
    artifacts = Artifacts("memory:///")
    digest = artifacts.put(b"bytes")
    artifacts.place.write(f"blobs/{digest[:2]}/{digest}", b"bytez")
    with pytest.raises(CorruptArtifact):
        artifacts.get(digest)
    artifacts.put(b"bytes")
    assert artifacts.get(digest) == b"bytes"


@pytest.mark.parametrize("which", ["graph", "digest", "answers"])
@pytest.mark.parametrize("how", [flip, Path.unlink], ids=["altered", "missing"])
def test_a_damaged_live_version_loses_by_default_and_the_report_says_so(shop, which, how):
    """Whichever of its blobs it is that the gate reads; else its head could never be taught again."""
    live = shop.teach("head", some(30))
    harm(shop, _of(live, which), how)
    made = shop.teach("head", some(30, start=100))
    assert heads.resolve(shop.shop.engine, HeadRef("head")).number == made.number == 2
    verdict = made.manifest["gate"]
    assert verdict["passed"] and verdict["against"] == 1 and verdict["examples"] == 0
    assert "version 1" in verdict["reason"] and "damaged" in verdict["reason"] and "by default" in verdict["reason"]


def _of(version: HeadVersion, which: str) -> str:
    """The digest of one of a version's blobs."""
    return version.digest if which == "graph" else str(version.manifest["data"][which])


def test_a_damaged_version_does_not_win_by_what_it_said_once(shop):
    """Its answers are kept, and better than those of its successor, which learned from wrong labels."""
    live = shop.teach("head", some(60))
    harm(shop, live.digest)
    wrong = [replace(p, example=replace(p.example, label=LABELS[(n + 1) % 3])) for n, p in enumerate(some(60))]
    assert shop.teach("head", wrong, mode="replace").status == "published"


def test_a_sound_live_version_still_has_its_say(shop):
    shop.teach("head", some(30))
    assert "damaged" not in shop.teach("head", some(30, start=100)).manifest["gate"]


def test_a_version_whose_list_is_damaged_goes_when_an_example_is_taken_back(shop):
    """Nobody can tell any more what it knew."""
    sent = some(30)
    live = shop.teach("head", sent)
    harm(shop, live.manifest["data"]["digest"])
    shop.teach("head", sent[:1], edit=Edit(remove=1), deploy="always")
    assert [v.number for v in heads.summary(shop.shop.engine, "head").versions] == [2]


def test_classes_of_a_damaged_version_cannot_be_renamed_and_the_job_says_why(shop):
    live = shop.teach("head", some(30))
    harm(shop, live.digest)
    with pytest.raises(HeadDamaged, match="train it anew"):
        shop.teach("head", [], edit=Edit(rename={"a": "A"}), deploy="always")


def test_a_damaged_example_is_named_and_mended_by_sending_it_again(shop):
    sent = some(30)
    waiting = shop.job("head", sent)
    harm(shop, sent[7].example.sha256)
    with pytest.raises(ExampleDamaged, match=f"{sent[7].example.sha256} \\(7-0.bmp\\) is damaged"):
        pipeline.finetune(waiting.id, shop.shop)
    assert shop.teach("again", sent).status == "published"
    assert examples.stored(shop.shop.artifacts, Example(sent[7].example.sha256, "a", "x")) == sent[7].data
