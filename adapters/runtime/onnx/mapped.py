"""Backbones as files that sessions map: every process, and every session in it, uses the same copy of the weights.

A session over the bytes of a graph copies them, lays them out for this processor, and packs some of them again. ONNX
Runtime can write the outcome to a file beside a graph without weights, once; a session over that graph maps the file.
One of the embedded backbone takes 24 MiB of 4 processes each instead of 72, one of a ViT-S 38 instead of 205, with the
same answers, bit for bit: docs/adr/0007-several-serving-processes.md.

The files are a cache, for one onnxruntime on one kind of processor: proved when they are written, checked by digest
before they are used, replaced in one step and never written to again, never required, and safe to delete while they are
mapped. Somebody else may write to them all the same, and what is mapped changes with them: see `ChangeDetector`.
"""

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import onnxruntime as ort

from adapters import malloc, modalities
from adapters.runtime.onnx import processor, session
from adapters.store.objects.folder import sync_folder
from adapters.types import Backbone

log = logging.getLogger("espalier.backbones")
GRAPH, WEIGHTS, DIGESTS = "graph.onnx", "weights.bin", "digests.json"
PROVED = 2  # made-up inputs that a mapped graph has to answer as the original does
SMALL = 1024  # bytes up to which a constant stays in the graph


class MappedGraphs:
    """A folder of graphs by the digest of their backbone."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _surroundings()

    def graph(self, backbone: Backbone, read: Callable[[], bytes]) -> str | bytes:
        """The path of a mapped graph, made from `read()` if need be; what that gives where it cannot be made."""
        folder = self._folder / _name(backbone)
        if not _is_sound(folder):
            data = read()
            try:
                self._make(folder, data, backbone)
            except Exception as error:  # a full disk, a folder that is read-only, a graph that cannot be written
                log.warning("backbone %s keeps its weights to itself: %s", backbone.digest, error)
                return data
        return str(folder / GRAPH)

    def forget(self, digest: str) -> None:
        """Delete the files of a backbone and its parts, of other surroundings too; who has them mapped keeps them."""
        for folder in self._folder.parent.glob(f"*/{digest}*"):
            shutil.rmtree(folder, ignore_errors=True)

    def damaged(self) -> list[Path]:
        """Folders whose files are not as they were written, those of other surroundings too. Safe to delete."""
        return [d.parent for d in sorted(self._folder.parent.glob(f"*/*/{GRAPH}")) if not _is_sound(d.parent)]

    def _make(self, folder: Path, data: bytes, backbone: Backbone) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if _is_sound(folder):  # another process was faster
                return
            for left in self._folder.glob("draft-*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            draft = Path(tempfile.mkdtemp(dir=self._folder, prefix="draft-"))
            _write(draft, data, backbone)
            _sync(draft)
            shutil.rmtree(folder, ignore_errors=True)  # one that was altered: its files live on where they are mapped
            draft.rename(folder)
            sync_folder(self._folder)
        malloc.trim()  # what writing took: 58 MiB for the embedded backbone, which malloc would keep for ever

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One writer at a time: processes that start together would each need the memory of making it."""
        with (self._folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class ChangeDetector:
    """Whether the weights of a mapped graph were written to since they were checked. Of a graph in memory: never.

    The graph beside them is read once.
    """

    def __init__(self, graph: bytes | str) -> None:
        # Held open: by its name another file may be found by now.
        self._file = os.open(Path(graph).with_name(WEIGHTS), os.O_RDONLY) if isinstance(graph, str) else None
        self._seen = self._look()

    def has_changed(self) -> bool:
        """A microsecond: it is asked after every pass."""
        return self._look() != self._seen

    def _look(self) -> tuple[int, int]:
        if self._file is None:
            return 0, 0
        facts = os.fstat(self._file)
        return facts.st_mtime_ns, facts.st_size

    def __del__(self) -> None:
        if self._file is not None:
            os.close(self._file)


def _name(backbone: Backbone) -> str:
    """Of a part the backbone's digest comes first, so that it goes with it."""
    base = backbone.details.get("of")
    return backbone.digest if base is None else f"{base}-{backbone.digest[:16]}"


def _surroundings() -> str:
    """What the layout of weights depends on."""
    abilities = hashlib.sha256(" ".join(processor.instructions()).encode()).hexdigest()[:12]
    return f"onnxruntime-{ort.__version__}-{platform.machine()}-{abilities}"


def _write(folder: Path, data: bytes, backbone: Backbone) -> None:
    """Raises ValueError where the mapped graph answers another bit than the original."""
    _save(folder, data)
    if _answers(session.create(data), backbone) != _answers(session.create(str(folder / GRAPH)), backbone):
        raise ValueError("its mapped graph does not answer as the original")
    digests = {name: _digest(folder / name) for name in (GRAPH, WEIGHTS)}
    (folder / DIGESTS).write_text(json.dumps(digests))


def _sync(folder: Path) -> None:
    """So that a loss of power leaves no files that have to be made again."""
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())
    sync_folder(folder)


def _save(folder: Path, data: bytes) -> None:
    """Let a session over `data` write what it makes of it.

    Of int8 on x86 without VNNI nothing comes that answers as ours do (onnxruntime 1.31): such a graph is not mapped.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.optimized_model_filepath = str(folder / GRAPH)
    for name, value in {
        "session.optimized_model_external_initializers_file_name": WEIGHTS,
        "session.optimized_model_external_initializers_min_size_in_bytes": str(SMALL),
        # Kernels that pack weights (matrix products: transformers) find them packed.
        "session.save_external_prepacked_constant_initializers": "1",
    }.items():
        options.add_session_config_entry(name, value)
    ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (folder / WEIGHTS).touch()  # of a trunk before the first layer there are none


def _answers(ort_session: Any, backbone: Backbone) -> list[bytes]:
    modality = modalities.of(backbone)
    batches = [modality.collate([one], backbone.spec) for one in modality.trial(backbone.spec, PROVED)]
    return [output.tobytes() for batch in batches for output in ort_session.run(None, dict(batch))]


def _is_sound(folder: Path) -> bool:
    """Whether the files are there and as they were written."""
    try:
        wanted = json.loads((folder / DIGESTS).read_text())
        return set(wanted) == {GRAPH, WEIGHTS} and all(_digest(folder / name) == wanted[name] for name in wanted)
    except (OSError, ValueError, TypeError):
        return False


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
