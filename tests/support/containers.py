"""A container engine for tests: podman or docker, whatever of the two can run a container here.

`PYTHONPATH=tests python -m support.containers` says why none can, and ends with exit code 1.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

BASE = "localhost/debian:bookworm-slim"  # where no registry can be reached: see deploy/images/base.sh
# Ways to start one, the plain one first: where cgroups are of both kinds crun does not start, and a root without
# CAP_SYS_RESOURCE cannot raise limits to podman's own defaults.
LIMITS = ["--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4096:4096"]
WAYS: list[tuple[list[str], list[str]]] = [([], []), (["--runtime", "runc"], []), (["--runtime", "runc"], LIMITS)]


@dataclass(frozen=True, slots=True)
class Engine:
    """`name` with options before and after `run`."""

    name: str
    options: list[str]
    limits: list[str]

    def __call__(self, *arguments: str, check: bool = True, seconds: float = 120) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        command = [self.name, *self.options, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} ended with {done.returncode}: {done.stderr[-3000:]}")
        return done

    def inspect(self, image: str) -> dict[str, Any]:
        """What the engine knows of an image."""
        found: dict[str, Any] = json.loads(self("image", "inspect", image).stdout)[0]
        return found

    def inside(self, image: str, *command: str) -> str:
        """What a command prints in a container of its own, as root, that reaches nothing."""
        entry = ["--entrypoint", command[0], image, *command[1:]]
        return self("run", "--rm", "--network", "none", "--user", "0:0", *self.limits, *entry).stdout


def find() -> Engine:
    """The engine of this machine; skips the test where there is none."""
    tried: list[str] = []
    for name in ("podman", "docker"):
        if shutil.which(name) and subprocess.run([name, "info"], capture_output=True).returncode == 0:
            base = base_of(name)
            for options, limits in WAYS if name == "podman" else WAYS[:1]:
                engine = Engine(name, options, limits)
                done = engine("run", "--rm", "--network", "none", *limits, base, "true", check=False)
                if done.returncode == 0:
                    return engine
                tried.append(f"{name} {' '.join(options)}: {done.stderr.strip()[-300:]}")
    pytest.skip(f"no engine that can run a container: {'; '.join(tried) or 'neither podman nor docker answers'}")


def base_of(name: str) -> str:
    """The image that ours are built on, made out of Debian's archive where there is none yet."""
    if subprocess.run([name, "image", "inspect", BASE], capture_output=True).returncode:
        if not shutil.which("mmdebstrap"):
            pytest.skip("no base image, and no mmdebstrap to make one")
        script = Path(__file__).parents[2] / "deploy/images/base.sh"
        try:
            subprocess.run([str(script), name], capture_output=True, text=True, timeout=400, check=True)
        except subprocess.TimeoutExpired:
            pytest.skip("no base image: Debian's archive is too slow")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no base image: {error.stderr.strip()[-300:]}")
    return BASE


def build(engine: Engine, source: Path, target: str, backbones: Path, name: str, options: str = "") -> str:
    """Build a target of the Dockerfile in a clone as users do; returns the image's name."""
    chosen = {"ENGINE": engine.name, "NAME": name, "BASE": BASE, "BACKBONES": str(backbones)}
    chosen["OPTIONS"] = f"--isolation chroot {options}" if engine.name == "podman" else options
    if certificates := os.environ.get("PIP_CERT"):  # packages come through somebody who has a certificate of their own
        chosen["CA_BUNDLE"] = certificates
    script = [str(source / "deploy/images/build.sh"), target]
    done = subprocess.run(script, env=os.environ | chosen, capture_output=True, text=True, timeout=900)
    if done.returncode:
        raise AssertionError(f"{target} was not built: {done.stdout[-3000:]}{done.stderr[-3000:]}")
    return f"{name}:{target}"


def files(engine: Engine, image: str, folder: Path, times: bool = True) -> dict[str, tuple[object, ...]]:
    """All that is in an image: path → (type, mode, owner, group, where a link leads, time if asked for, SHA-256)."""
    name, archive = f"espalier-test-{uuid.uuid4().hex[:8]}", folder / "image.tar"
    engine("create", "--name", name, image)
    try:
        engine("export", "--output", str(archive), name)
    finally:
        engine("rm", "--force", name, check=False)
    with tarfile.open(archive) as opened:
        found = {member.name: (*_facts(member), times and member.mtime, _digest(opened, member)) for member in opened}
    archive.unlink()
    return {path: facts for path, facts in found.items() if not path.startswith(("dev/", "proc/", "sys/", "run/"))}


def _facts(member: tarfile.TarInfo) -> tuple[object, ...]:
    return member.type, member.mode, member.uid, member.gid, member.linkname


def _digest(opened: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    content = opened.extractfile(member) if member.isfile() else None
    return hashlib.file_digest(content, "sha256").hexdigest() if content else ""


@contextmanager
def container(engine: Engine, image: str, options: Sequence[str], command: Sequence[str] = ()) -> Iterator[str]:
    """A running container, by its name; it is gone at the end."""
    name = f"espalier-test-{uuid.uuid4().hex[:8]}"
    engine("run", "--detach", "--name", name, *engine.limits, *options, image, *command)
    try:
        yield name
    finally:
        engine("rm", "--force", "--volumes", name, check=False)


def log(engine: Engine, name: str) -> str:
    """What a container has printed."""
    done = engine("logs", name, check=False)
    return done.stdout + done.stderr


if __name__ == "__main__":
    try:
        find()
    except pytest.skip.Exception as reason:
        sys.exit(str(reason))
