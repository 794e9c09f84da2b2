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
    precision = settings.precision if settings.precision != "auto" else decided(engine) or "fp32"
    return settings.default_backbone if precision == "fp32" else variant_name(settings.default_backbone, precision)


def is_decided(settings: Settings, engine: Engine) -> bool:
    """Whether `name` will stay as it is."""
    return settings.precision != "auto" or decided(engine) is not None


def decide(settings: Settings, engine: Engine) -> None:
    """Settle `auto`, before any backbone is built or taken up. Safe to repeat, and from several processes at once."""
    if not is_decided(settings, engine):
        precision = "int8" if _suits_int8(settings, engine) else "fp32"
        capabilities.settle(engine, *SETTLED, {"precision": precision})


def decided(engine: Engine) -> str | None:
    """What `auto` means here; None until it is decided."""
    kind, name = SETTLED
    return capabilities.of_kind(engine, kind).get(name, {}).get("precision")


def _suits_int8(settings: Settings, engine: Engine) -> bool:
    """A new installation, the backbone that we have measured, and a processor for which int8 is made."""
    measured = settings.default_backbone in embedded()
    on_cpu = devices.resolve(settings.device) == "cpu"
    return measured and on_cpu and processor.fast_int8() and not backbones.list_all(engine)
