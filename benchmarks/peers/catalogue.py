"""Everything that is compared: how to start it, what to send, how to read its answer."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from adapters.runtime.onnx import processor
from benchmarks import load, record, server
from benchmarks.peers import assets, environments

PATIENCE = 180.0  # seconds to become ready: 50 torch models in each worker take a while
GRACE = 15.0  # seconds to end before SIGKILL

Request = Callable[[str, bytes, int], bytes]  # head, photo, port → HTTP
Read = Callable[[Any], list[float]]  # JSON → probabilities in the order of the classes


@dataclass(frozen=True, slots=True)
class Served:
    """One running system."""

    port: int
    mark: str  # NAME=value in the environment of all its processes


@dataclass(frozen=True, slots=True)
class Peer:
    """One other way."""

    name: str
    engine: Literal["torch", "onnx"]
    environment: str
    command: tuple[str, ...]  # of python; {port} is filled in
    request: Request
    read: Read
    settings: dict[str, str] = field(default_factory=dict)
    precision: str = "fp32"

    @contextlib.contextmanager
    def serving(self, home: Path, heads: int) -> Iterator[Served]:
        """Run it with so many heads, ready to answer the first."""
        port = server.free_port()
        command = [str(environments.python(self.environment)), *(part.format(port=port) for part in self.command)]
        env = os.environ | _environment(home, heads, port) | self.settings
        with (home / f"{self.name}.log").open("wb") as log:
            process = subprocess.Popen(command, env=env, stdout=log, stderr=log, start_new_session=True)
            try:
                self._wait(process, port, Path(log.name))
                yield Served(port, f"PEER_PORT={port}")
            finally:
                _end(process, f"PEER_PORT={port}")

    def _wait(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        asked, deadline = self.request(assets.name(0), assets.photo(), port), time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(OSError, ValueError):  # not there yet, or a page that says so in chunks
                if not load.run([asked], port, 1, 0).failures:
                    return
            time.sleep(0.2)
        raise RuntimeError(f"{self.name} did not become ready:\n{log.read_text(errors='replace')[-3000:]}")


@dataclass(frozen=True, slots=True)
class Espalier:
    """Ourselves, behind the same door."""

    name: str
    precision: str
    environment: None = None

    @contextlib.contextmanager
    def serving(self, home: Path, heads: int) -> Iterator[Served]:
        """The serving process; it has all heads of the home, whatever the number asked for."""
        with server.serving(home, ESPALIER_PRECISION=self.precision) as running:
            yield Served(running.port, f"ESPALIER_HOME={home}")

    def request(self, head: str, photo: bytes, port: int) -> bytes:
        """Raw bytes, all classes."""
        return load.request(f"/predict?head={head}&top_k={len(assets.CLASSES)}", photo, "image/jpeg", port)

    def read(self, answer: Any) -> list[float]:
        """In the order of the classes."""
        scores = {row["label"]: row["score"] for row in answer["predictions"][0]["top"]}
        return [scores[label] for label in assets.CLASSES]


def _environment(home: Path, heads: int, port: int) -> dict[str, str]:
    facts = {"FOLDER": home / "peers", "HEADS": heads, "CORES": processor.cores(), "PORT": port}
    # One OpenMP thread a worker: with a worker a core, more would fight for the cores.
    threads = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(record.ROOT), "BENTOML_DO_NOT_TRACK": "true"}
    return threads | {"RAY_USAGE_STATS_ENABLED": "0"} | {f"PEER_{key}": str(value) for key, value in facts.items()}


def _end(process: subprocess.Popen[bytes], mark: str) -> None:
    """End it and all that it started, also what has left its process group."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(GRACE)
    for pid in server.marked(mark):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def _form(path: str, photo: bytes, port: int, name: str, **fields: str) -> bytes:
    mark = "----photo"
    disposition = f'Content-Disposition: form-data; name="{name}"; filename="a.jpg"\r\nContent-Type: image/jpeg'
    parts = [f'--{mark}\r\nContent-Disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    body = "".join([*parts, f"--{mark}\r\n{disposition}\r\n\r\n"]).encode() + photo + f"\r\n--{mark}--\r\n".encode()
    return load.request(path, body, f"multipart/form-data; boundary={mark}", port)


def _raw(head: str, photo: bytes, port: int) -> bytes:
    return load.request(f"/{head}", photo, "image/jpeg", port)


def _to_ray(head: str, photo: bytes, port: int) -> bytes:
    return load.request("/", photo, "image/jpeg", port, f"serve_multiplexed_model_id: {head}")


def _to_bentoml(head: str, photo: bytes, port: int) -> bytes:
    return _form(f"/{head}", photo, port, "images")


def _to_litserve(head: str, photo: bytes, port: int) -> bytes:
    return _form("/predict", photo, port, "image", head=head)


def _named(answer: Any) -> list[float]:
    return answer["probabilities"]


_UVICORN: tuple[str, ...] = ("-m", "uvicorn", "benchmarks.peers.fastapi_onnx:app", "--port", "{port}")
_UVICORN += ("--no-access-log", "--workers", str(processor.cores()))
_BENTOML = (
    "-m",
    "bentoml",
    "serve",
    "benchmarks.peers.bentoml_torch:Service",
    "--host",
    "127.0.0.1",
    "--port",
    "{port}",
)
_LITSERVE = ("-m", "benchmarks.peers.litserve_server")

OURS = (Espalier("espalier", "int8"), Espalier("espalier_fp32", "fp32"))
_FP32 = (
    Peer("bentoml_torch", "torch", "bentoml", _BENTOML, _to_bentoml, lambda answer: answer[0]),
    Peer("litserve_torch", "torch", "litserve", (*_LITSERVE, "torch"), _to_litserve, _named),
    Peer("litserve_onnx", "onnx", "litserve", (*_LITSERVE, "onnx"), _to_litserve, _named),
    Peer("ray_onnx", "onnx", "ray", ("-m", "benchmarks.peers.ray_onnx"), _to_ray, _named,
         {"RAY_SERVE_THROUGHPUT_OPTIMIZED": "1"}),
    Peer("fastapi_onnx", "onnx", "fastapi", _UVICORN, _raw, _named),
    Peer("fastapi_onnx_shared", "onnx", "fastapi", _UVICORN, _raw, _named, {"PEER_SHARED": "1"}),
)  # fmt: skip
# int8 is our quantisation; whoever has the graph can serve it.
PEERS = _FP32 + tuple(replace(p, name=f"{p.name}_int8", precision="int8") for p in _FP32 if p.engine == "onnx")
