"""`espalier backbones`: on this machine, without a server."""

from pathlib import Path
from typing import Any

import click

from service.cli.machine import parts
from service.cli.options import Listing, as_json, readable, show


@click.group(cls=Listing)
def backbones() -> None:
    """List, add, quantize, upgrade, show, export and remove backbones of ESPALIER_HOME (or its database URL)."""


@backbones.command("list")
@as_json
@readable
def backbones_list(raw: bool) -> None:
    """All backbones."""
    from adapters.store import backbones as store
    from service.cli import display

    show([_facts(b) for b in store.list_all(parts()[1])], raw, display.backbones)


@backbones.command("show")
@click.argument("name")
@as_json
@readable
def backbones_show(name: str, raw: bool) -> None:
    """Everything known of a backbone, and where it can be cut for deep versions."""
    from adapters.store import backbones as store
    from service.cli.display import cuts

    _, engine, artifacts = parts()
    show(_facts(_with_cuts(store.find(engine, name), artifacts)), raw, cuts.backbone)


@backbones.command("add")
@click.argument("timm_name", metavar="NAME")
@click.argument("options", nargs=-1, metavar="[OPTION=VALUE]...")
@click.option("--weights", help="A .safetensors or .pth file, or `random`; without it timm fetches them from the hub.")
@click.option("--name", help="What to call it here; default: NAME.")
@as_json
@readable
def backbones_add(timm_name: str, options: tuple[str, ...], weights: str | None, name: str | None, raw: bool) -> None:
    """Build the timm model NAME (hf-hub: names too) as a backbone. Options: size, mean, std, crop_pct, interpolation,
    or any of timm.create_model, as in_chans=1 for grey images."""
    from adapters.backbones.cards import card_from_options, embedded, embedded_card
    from adapters.training.backbone.build import build
    from service.cli.display import cuts

    pairs = dict(_pair(text) for text in options)
    if timm_name in embedded() and not (pairs or weights or name):
        card = embedded_card(timm_name)
    else:
        card = card_from_options(name or timm_name.rpartition("/")[2], timm_name, weights, pairs)
    _, engine, artifacts = parts()
    show(_facts(build(card, engine, artifacts)), raw, cuts.backbone)


@backbones.command("quantize")
@click.argument("name")
@click.option("--precision", default="int8", show_default=True, help="int8 for CPUs, fp16 for GPUs.")
@click.option(
    "--calibrate",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Images like those that will be asked about; default: crops of two sample photos.",
)
@click.option("--name", "alias", help="What to call it here; default: NAME-PRECISION.")
@click.option("--force", is_flag=True, help="Keep it even if its embeddings are too far from fp32.")
@as_json
@readable
def backbones_quantize(
    name: str, precision: str, calibrate: Path | None, alias: str | None, force: bool, raw: bool
) -> None:
    """Build the backbone NAME in another precision: a backbone of its own, on which heads are trained anew."""
    from adapters import modalities
    from adapters.store import backbones as store
    from adapters.training.backbone import variant
    from service.cli.display import cuts

    _, engine, artifacts = parts()
    source = store.find(engine, name)
    made = modalities.calibration(source.modality)
    inputs = made.crops(source.spec) if calibrate is None else made.folder(calibrate, source.spec)
    built = variant.build(source, precision, inputs, engine, artifacts, name=alias, force=force)
    show(_facts(built), raw, cuts.backbone)


@backbones.command("upgrade")
@click.argument("name")
@click.option("--name", "alias", help="What to call it here; default: NAME-taps.")
@as_json
@readable
def backbones_upgrade(name: str, alias: str | None, raw: bool) -> None:
    """Add the backbone NAME once more, with taps: heads that are rebuilt on it may read what earlier blocks saw."""
    from adapters.store import backbones as store
    from adapters.training.backbone import upgrade
    from service.cli.display import cuts

    _, engine, artifacts = parts()
    show(_facts(upgrade.build(store.find(engine, name), engine, artifacts, alias)), raw, cuts.backbone)


@backbones.command("export")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@readable
def backbones_export(name: str, folder: Path) -> None:
    """Write a backbone as files (a bundle) that ESPALIER_BACKBONE_BUNDLE takes up without torch."""
    from adapters.store import backbones as store
    from service.processes import bundles

    _, engine, artifacts = parts()
    backbone = store.find(engine, name)
    for path in bundles.write(folder, backbone, store.stored(artifacts, backbone)):
        click.echo(path)


@backbones.command("remove")
@click.argument("name")
@as_json
@readable
def backbones_remove(name: str, raw: bool) -> None:
    """Forget a backbone that no head uses."""
    from adapters.store import backbones as store
    from adapters.store.objects import blobs
    from service.loading import mapped_graphs

    settings, engine, artifacts = parts()
    gone = store.remove(engine, name)
    mapped_graphs(settings).forget(gone.digest)
    blobs.sweep(engine, artifacts)
    show(_facts(gone), raw, lambda _: click.echo(f"removed {name}"))


def _with_cuts(backbone: Any, artifacts: Any) -> Any:
    """One from before cuts were recorded gets them of its graph, where what reads graphs is installed."""
    from dataclasses import replace
    from importlib.util import find_spec

    from adapters.store import backbones as store

    if "cuts" in backbone.details or find_spec("onnx") is None:
        return backbone
    from adapters.training.backbone import cuts

    found = cuts.of(backbone, store.stored(artifacts, backbone))
    return replace(backbone, details=backbone.details | cuts.facts(found)) if found else backbone


def _facts(backbone: Any) -> dict[str, Any]:
    from adapters.backbones.facts import to_json

    return to_json(backbone) | {"modality": backbone.modality, "length": backbone.length}


def _pair(text: str) -> tuple[str, str]:
    key, mark, value = text.partition("=")
    if not mark or not key.isidentifier():
        raise click.ClickException(f"{text!r} is not OPTION=VALUE")
    return key, value
