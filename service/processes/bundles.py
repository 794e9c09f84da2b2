"""Bundles: built backbones as files, so that an image without torch can bring its own.

A bundle is a folder with `<name>.onnx` and `<name>.json` (the facts) for each backbone.
"""

import hashlib
import json
from pathlib import Path

from sqlalchemy.engine import Engine

from adapters.backbones.facts import from_json, to_json
from adapters.errors import InvalidInput
from adapters.store import backbones
from adapters.store.objects.artifacts import Artifacts
from adapters.types import Backbone


def write(folder: Path, backbone: Backbone, graph: bytes) -> list[Path]:
    """Write one backbone into a bundle; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{backbone.name}.onnx", folder / f"{backbone.name}.json"]
    files[0].write_bytes(graph)
    files[1].write_text(json.dumps(to_json(backbone), indent=2))
    return files


def holds(folder: str, name: str) -> bool:
    """Whether a bundle brings the backbone of that name."""
    return (Path(folder) / f"{name}.json").is_file()


def register(folder: str, engine: Engine, artifacts: Artifacts) -> None:
    """Make every backbone of a bundle known that is not yet. Raises InvalidInput when a graph is not its facts' one."""
    known = {b.digest for b in backbones.list_all(engine)}
    for path in sorted(Path(folder).glob("*.json")):
        backbone = _read(path)
        if backbone.digest in known:
            continue
        graph = path.with_suffix(".onnx").read_bytes()
        if hashlib.sha256(graph).hexdigest() != backbone.artifact:
            raise InvalidInput(f"{path.with_suffix('.onnx').name} is not the graph that {path.name} speaks of")
        backbones.add(engine, artifacts, backbone, graph)


def restore(folder: str, backbone: Backbone, artifacts: Artifacts) -> None:
    """Store the graph of a backbone that is known, where the bundle has the very same."""
    graph = (Path(folder) / f"{backbone.name}.onnx").read_bytes()
    if hashlib.sha256(graph).hexdigest() == backbone.artifact:
        artifacts.put(graph)


def _read(path: Path) -> Backbone:
    return from_json(json.loads(path.read_text()))
