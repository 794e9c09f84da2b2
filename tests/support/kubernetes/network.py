"""Network namespaces on one bridge: each pod has an address of its own, as in a cluster, and all of its ports."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

SUBNET = "10.213.77"


@dataclass(slots=True)
class Network:
    """A bridge, and the namespaces on it. The test itself is `gateway`."""

    name: str = field(default_factory=lambda: f"esp{os.getpid() % 100_000}")
    gateway: str = f"{SUBNET}.1"
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(2))
    _namespaces: dict[str, str] = field(default_factory=dict)

    def open(self) -> None:
        """Make the bridge."""
        ip("link", "add", self.name, "type", "bridge")
        ip("addr", "add", f"{self.gateway}/24", "dev", self.name)
        ip("link", "set", self.name, "up")

    def add(self) -> tuple[str, str]:
        """A namespace: its name and its address."""
        number = next(self._numbers)
        namespace, address = f"{self.name}-{number}", f"{SUBNET}.{number}"
        here, there = f"{self.name}v{number}", "eth0"
        ip("netns", "add", namespace)
        self._namespaces[namespace] = here
        ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", namespace)
        ip("link", "set", here, "master", self.name, "up")
        for command in (["addr", "add", f"{address}/24", "dev", there], ["link", "set", there, "up"]):
            ip("-n", namespace, *command)
        ip("-n", namespace, "link", "set", "lo", "up")
        return namespace, address

    def remove(self, namespace: str) -> None:
        """With its interface: whoever is connected to it hears nothing more."""
        self._namespaces.pop(namespace)
        ip("netns", "del", namespace)

    def close(self) -> None:
        """Take everything away."""
        for namespace in list(self._namespaces):
            self.remove(namespace)
        ip("link", "del", self.name)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True, timeout=30)


@contextmanager
def running() -> Iterator[Network]:
    """A network until the end of the block; skips the test where none may be made."""
    network = Network()
    try:
        network.open()
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here, which takes root and iproute2: {error}")
    try:
        yield network
    finally:
        network.close()
