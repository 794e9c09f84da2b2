"""Which backbone heads get that name none: ESPALIER_DEFAULT_BACKBONE, in the precision of ESPALIER_PRECISION.

`auto` is decided once, by the first process of a new installation, and kept in its database: replicas on different
processors must agree, and an installation that has backbones already stays with fp32, as its users know it.
"""

from sqlalchemy.engine import Engine

from adapters.backbones.cards import embedded, variant_name
from adapters.runtime import devices, processor
from adapters.store import backbones, capabilities
from service.settings import Settings

SETTLED = ("default", "precision")  # kind and name among the capabilities


def name(settings: Settings, engine: Engine) -> str:
    """The name of the default backbone in force, whether it is built or not."""
    wanted = precision(settings, engine)
    return settings.default_backbone if wanted == "fp32" else variant_name(settings.default_backbone, wanted)


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

    SQLite means one machine; where others may join, their processors must compute it, too. A bundle has no int8full.
    """
    measured = settings.default_backbone in embedded()
    on_cpu = devices.resolve(settings.device) == "cpu"
    if not (measured and on_cpu and processor.fast_int8()) or backbones.list_all(engine):
        return "fp32"
    return "int8full" if engine.dialect.name == "sqlite" and not settings.backbone_bundle else "int8"
