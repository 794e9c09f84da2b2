"""Which backbone heads get that name none: ESPALIER_DEFAULT_BACKBONE, in the precision of ESPALIER_PRECISION.

`auto` is decided once, by the first process of a new installation, and kept in its database: replicas on different
processors must agree, and an installation that has backbones already stays with fp32, as its users know it.
"""

from sqlalchemy.engine import Engine

from adapters import modalities
from adapters.backbones.cards import embedded, variant_name
from adapters.errors import BackboneNotFound
from adapters.runtime.onnx import devices, processor
from adapters.store import backbones, capabilities
from adapters.types import ORIGINAL
from service.processes import bundles
from service.settings import Settings

SETTLED = ("default", "precision")  # kind and name among the capabilities


def name(settings: Settings, engine: Engine) -> str:
    """The name of the default backbone in force, whether it is built or not."""
    wanted = precision(settings, engine)
    return settings.default_backbone if wanted == "fp32" else variant_name(settings.default_backbone, wanted)


def of(settings: Settings, engine: Engine, modality: str) -> str:
    """The name of the default backbone of a modality: of images, `name`; of others the first of our cards for it that
    is built, else any that is there. Raises BackboneNotFound.
    """
    if modality == ORIGINAL:
        return name(settings, engine)
    there = sorted(b.name for b in backbones.list_all(engine) if b.modality == modality)
    ours = [name for name in sorted(embedded()) if name in there]
    if not there:
        plural = f"{modalities.get(modality).NOUN}s"
        raise BackboneNotFound(
            f"no backbone here reads {plural}; `espalier backbones` lists what there is, "
            "`espalier backbones add` builds one",
            item="backbone",
        )
    return (ours or there)[0]


def precision(settings: Settings, engine: Engine) -> str:
    """Its precision."""
    return settings.precision if settings.precision != "auto" else decided(engine) or "fp32"


def is_decided(settings: Settings, engine: Engine) -> bool:
    """Whether `name` will stay as it is."""
    return settings.precision != "auto" or decided(engine) is not None


def decide(settings: Settings, engine: Engine) -> None:
    """Settle `auto`, before any backbone is built or taken up. Safe to repeat, and from several processes at once."""
    if not is_decided(settings, engine):
        capabilities.settle(engine, *SETTLED, {"precision": _suitable(settings, engine)})


def decided(engine: Engine) -> str | None:
    """What `auto` means here; None until it is decided."""
    kind, name = SETTLED
    return capabilities.of_kind(engine, kind).get(name, {}).get("precision")


def _suitable(settings: Settings, engine: Engine) -> str:
    """int8 for a new installation, the backbone that we have measured, and a processor for which int8 is made.

    SQLite means one machine. Others that join a Postgres later may have GPUs, on which int8 does not run. Where
    backbones come as a bundle, nobody may be there to build what it lacks.
    """
    measured = settings.default_backbone in embedded()
    on_cpu = devices.resolve(settings.device) == "cpu"
    alone = engine.dialect.name == "sqlite" and not backbones.list_all(engine)
    suits = measured and on_cpu and alone and processor.fast_int8()
    bundle, name = settings.backbone_bundle, variant_name(settings.default_backbone, "int8")
    return "int8" if suits and (not bundle or bundles.holds(bundle, name)) else "fp32"
