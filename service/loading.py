"""How the processes of a machine load backbones, and how many threads they decode with."""

from collections.abc import Callable

from sqlalchemy.engine import Engine

from adapters.backbones.cuts import Part
from adapters.runtime.onnx import devices, processor
from adapters.runtime.onnx.mapped import MappedGraphs
from adapters.store import backbones
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Backbone
from service.settings import Settings

GPU_LANES = 32  # threads that decode for one GPU


def backbone_loader(
    settings: Settings, engine: Engine, artifacts: Artifacts
) -> Callable[[str | Part], tuple[Backbone, bytes | str]]:
    """What loads a backbone by its digest, or a part of one: on a CPU from files that all processes here map."""
    if devices.resolve(settings.device) != "cpu":
        return lambda source: load_backbone(engine, artifacts, source)
    graphs = mapped_graphs(settings)

    def load(source: str | Part) -> tuple[Backbone, bytes | str]:
        backbone = backbones.find_source(engine, source)
        return backbone, graphs.graph(backbone, lambda: backbones.stored(artifacts, backbone))

    return load


def mapped_graphs(settings: Settings) -> MappedGraphs:
    """Those of this machine."""
    return MappedGraphs(settings.home.absolute() / "mapped")


def load_backbone(engine: Engine, artifacts: Artifacts, source: str | Part) -> tuple[Backbone, bytes]:
    """The facts and the graph of a backbone, or of a part of one. Raises BackboneNotFound, BackboneDamaged."""
    backbone = backbones.find_source(engine, source)
    return backbone, backbones.stored(artifacts, backbone)


def lanes(settings: Settings) -> int:
    """Threads that decode. Raises DeviceError: who asked for a GPU that is not there learns it at the start."""
    on_cpu = devices.resolve(settings.device) == "cpu"
    return settings.threads or (processor.cores() if on_cpu else GPU_LANES)
