"""Making an installation usable: tables, embedded backbone, list of methods. Needs the `train` extra."""

import hashlib
import logging
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine

from adapters import modalities
from adapters.backbones.cards import embedded, embedded_card, of_other_modalities
from adapters.backbones.cuts import Kind
from adapters.errors import BackboneNotFound, EspalierError, InvalidInput
from adapters.store import backbones, capabilities, database
from adapters.store.objects import folder
from adapters.store.objects.artifacts import Artifacts
from adapters.types import DEEP, Backbone, Cut
from service.processes import bundles, default_backbone
from service.settings import Settings

log = logging.getLogger("espalier.setup")


def is_done(settings: Settings, engine: Engine) -> bool:
    """Whether nothing is left for `prepare` to do; looks, builds nothing, loads no torch."""
    if not database.is_usable(engine):
        return False
    if not default_backbone.is_decided(settings, engine):
        return False
    wanted = [default_backbone.name(settings, engine), *of_other_modalities()]
    return all(_is_there(engine, name) for name in wanted) and bool(capabilities.of_kind(engine, "method"))


def prepare(settings: Settings, engine: Engine, artifacts: Artifacts) -> None:
    """Tables, the default backbone and the list of methods. Safe to repeat, and from several workers at once."""
    database.migrate(engine)
    default_backbone.decide(settings, engine)
    if settings.backbone_bundle:
        bundles.register(settings.backbone_bundle, engine, artifacts)
    _build_default(settings, engine, artifacts)
    _build_others(engine, artifacts)
    _register_methods(engine)


def _build_default(settings: Settings, engine: Engine, artifacts: Artifacts) -> None:
    name = default_backbone.name(settings, engine)
    if _is_there(engine, name) or not _build_full(settings, engine, artifacts) or name == settings.default_backbone:
        return
    from adapters.training.backbone import variant

    source = backbones.find(engine, settings.default_backbone)
    log.info("building the backbone %s; this happens once", name)
    precision = default_backbone.precision(settings, engine)
    variant.build(
        source, precision, modalities.calibration(source.modality).crops(source.spec), engine, artifacts, name=name
    )


def _build_full(settings: Settings, engine: Engine, artifacts: Artifacts) -> bool:
    """The default backbone as its card has it; False where there is none and nothing to build it from."""
    if _is_there(engine, settings.default_backbone):
        return True
    if settings.default_backbone not in embedded():
        log.warning("the default backbone %r is not there yet: add it", settings.default_backbone)
        return False
    from adapters.training.backbone.build import build

    log.info("building the backbone %s; this happens once", settings.default_backbone)
    build(embedded_card(settings.default_backbone), engine, artifacts)
    return True


def _build_others(engine: Engine, artifacts: Artifacts) -> None:
    """The default backbones of what is no image, from files in packages; without those, images go on as they are."""
    for name in of_other_modalities():
        if _is_there(engine, name):
            continue
        try:
            from adapters.training.backbone.build import build

            log.info("building the backbone %s; this happens once", name)
            build(embedded_card(name), engine, artifacts)
        except (InvalidInput, ImportError) as error:
            log.warning("could not build the backbone %s: %s", name, error)


def remake(settings: Settings, engine: Engine, artifacts: Artifacts, backbone: Backbone) -> bool:
    """Store the very graph of a backbone again: from the bundle, or built as it was; False where that gives another."""
    try:
        if settings.backbone_bundle and bundles.holds(settings.backbone_bundle, backbone.name):
            bundles.restore(settings.backbone_bundle, backbone, artifacts)
        elif backbone.name in embedded():
            from adapters.training.backbone.build import build

            build(embedded_card(backbone.name), engine, artifacts)
        elif "variant_of" in backbone.details:
            from adapters.training.backbone import variant

            source = backbones.find_digest(engine, backbone.details["variant_of"]["digest"])
            held = modalities.calibration(source.modality).crops(source.spec)
            variant.build(source, backbone.precision, held, engine, artifacts, name=backbone.name)
    except (EspalierError, ImportError) as error:
        log.warning("could not make the backbone %s again: %s", backbone.name, error)
    return artifacts.is_sound(backbone.artifact)


def derive(engine: Engine, artifacts: Artifacts, manifest: dict[str, Any], kind: Kind) -> bool:
    """Store the very part of a backbone that a deep version reads again; False where that gives another, or nothing."""
    try:
        from adapters.training.backbone import cuts

        backbone, cut = backbones.find_digest(engine, manifest["backbone"]["digest"]), manifest["deep"]["cut"]
        make = {"trunk": cuts.trunk, "whole": cuts.whole}[kind]
        graph = make(backbones.stored(artifacts, backbone), Cut(**cut | {"shape": tuple(cut["shape"])}))
        if hashlib.sha256(graph).hexdigest() == manifest["deep"][kind]:
            artifacts.put(graph)
    except (EspalierError, ImportError) as error:
        log.warning("could not derive the %s of %s again: %s", kind, manifest["backbone"]["name"], error)
    return artifacts.is_sound(manifest["deep"][kind])


def _is_there(engine: Engine, name: str) -> bool:
    try:
        return bool(backbones.find(engine, name))
    except BackboneNotFound:
        return False


def _register_methods(engine: Engine) -> None:
    from adapters import methods, tasks
    from adapters.recipe import Hyperparameters

    schemas = {name: methods.get(name).Hyperparameters.model_json_schema() for name in methods.names()}
    for name, schema in schemas.items():
        schema["x-tasks"] = [t for t in tasks.names() if tasks.get(t).OBJECTIVE in methods.get(name).OBJECTIVES]
    schemas[DEEP] = Hyperparameters.model_json_schema() | {"x-tasks": list(tasks.names())}
    if capabilities.of_kind(engine, "method") != schemas:
        capabilities.replace_all(engine, "method", schemas)


def prepare_jobs_database(url: str) -> None:
    """Put DBOS's SQLite file into WAL mode, which DBOS leaves to us; readers then never wait for a writer."""
    if not url.startswith("sqlite"):
        return
    path = Path(url.removeprefix("sqlite:///"))
    folder.private(path.parent)
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()
