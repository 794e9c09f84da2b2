"""What a deep version reads of its backbone is damaged in the store: its head can be taught again, and it is derived
anew. And what is wrong with a stored example is said with its name, wherever it is decoded."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from support import teachable
from support.teachable import DEEP, live, pictures
from support.training import Bench

from adapters import modalities
from adapters.backbones import cuts
from adapters.errors import BackboneDamaged, InvalidInput
from adapters.runtime.backbone import Backbones
from adapters.store import backbones
from adapters.store.scrub import stored
from adapters.training.stages import deep
from adapters.types import HeadVersion
from service.processes import setup

SHALLOW = {"backbone": "blocks", "method": "prototype", "views": "none"}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Bench]:
    with teachable.bench(tmp_path) as made:
        made.teach("head", pictures(20), **DEEP)
        yield made


def path_of(shop: Bench, digest: str) -> Path:
    return Path(shop.shop.folder).parent / "blobs" / digest[:2] / digest


def damage(shop: Bench, digest: str) -> Bench:
    """Turn a bit of a blob; gives a worker that has not read it yet."""
    path = path_of(shop, digest)
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    return Bench(replace(shop.shop, backbones=Backbones(shop.shop.backbones._load)))


def test_a_live_version_whose_trunk_is_damaged_loses_by_default(shop):
    """It cannot answer, and its head must not wait for that to be mended."""
    worker = damage(shop, live(shop, "head").manifest["deep"]["trunk"])
    verdict = worker.teach("head", pictures(20, first=300), **SHALLOW).manifest["gate"]
    assert verdict["passed"] and verdict["damaged"] and verdict["against"] == 1
    assert "version 1, which is live, is damaged" in verdict["reason"]


def part_of(version: HeadVersion, kind: cuts.Kind = "trunk") -> cuts.Part:
    return cuts.part(version.manifest["backbone"]["digest"], version.manifest["deep"], kind)


def test_what_is_damaged_is_named_as_what_it_is(shop):
    part = part_of(live(shop, "head"))
    worker = damage(shop, part.artifact)
    with pytest.raises(BackboneDamaged, match=r"deep versions read of the backbone 'blocks' at 'blocks\.1' is damaged"):
        worker.shop.backbones.get(part)


@pytest.mark.slow
@pytest.mark.parametrize("kind", cuts.KINDS)
def test_a_check_derives_a_part_again_from_the_backbone(shop, kind):
    deep_part = live(shop, "head").manifest["deep"][kind]
    sound = path_of(shop, deep_part).read_bytes()
    damage(shop, deep_part)
    (finding,) = found(shop)
    assert f"the {kind} that head@1 reads" == finding.item and "derives it again" in finding.fix
    assert finding.mend() and path_of(shop, deep_part).read_bytes() == sound and not found(shop)


def test_a_part_of_a_backbone_that_is_damaged_itself_is_not_derived(shop):
    version = live(shop, "head")
    damage(shop, version.manifest["deep"]["trunk"])
    damage(shop, backbones.find(shop.shop.engine, "blocks").artifact)
    (finding,) = [one for one in found(shop) if "trunk" in one.item]
    assert not finding.mend()


def found(shop: Bench) -> list[stored.Finding]:
    engine, artifacts = shop.shop.engine, shop.shop.artifacts
    derive = partial(setup.derive, engine, artifacts)
    return [one for one in stored.findings(engine, artifacts, lambda backbone: False, derive) if one.kind != "orphan"]


@pytest.mark.slow
@pytest.mark.parametrize("way", ["embedded", "read by a deep version", "trained on"])
def test_a_stored_example_that_cannot_be_decoded_is_named(shop, way):
    """As after the bound of pixels was lowered."""
    sent = pictures(1, first=900)[0]
    shop.shop.artifacts.put(sent.data)
    context = replace(shop.shop, most={"image": 10})
    backbone = backbones.find(context.engine, "blocks")
    material = SimpleNamespace(backbone=backbone, modality=modalities.of(backbone))
    material.data = SimpleNamespace(examples=[sent.example])
    ways = {
        "embedded": lambda: context.embedder(backbone, "head").embed([sent.example], lambda done, total: None),
        "read by a deep version": lambda: context.trunks.taps(part_of(live(shop, "head")), [sent.example]),
        "trained on": lambda: deep._decoded(context, material, 0),
    }
    with pytest.raises(InvalidInput, match=r"^across-900\.bmp: ") as raised:
        ways[way]()
    assert raised.value.item == "across-900.bmp"
