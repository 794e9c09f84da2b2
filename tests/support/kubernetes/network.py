"""Network namespaces on one bridge: each pod has an address of its own, as in a cluster, and all of its ports.

Names and addresses are of this process and never used twice: the kernel takes a namespace away some time after it was
deleted, and another run of the tests may be at work beside this one.
"""

import itertools
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

SUBNETS = [f"10.213.{number}" for number in range(256)]
_made = itertools.count()


@dataclass(slots=True)
class Network:
    """A bridge, and the namespaces on it. The test itself is `gateway`."""

    name: str = field(default_factory=lambda: f"e{os.getpid() % 10**7}x{next(_made) % 100}")
    subnet: str = ""
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(2))
    _namespaces: dict[str, str] = field(default_factory=dict)

    def open(self) -> None:
        """Make the bridge. Raises CalledProcessError, OSError where none may be made."""
        ip("link", "add", self.name, "type", "bridge")
        self.subnet = _free(SUBNETS)
        ip("addr", "add", f"{self.gateway}/24", "dev", self.name)
        ip("link", "set", self.name, "up")

    @property
    def gateway(self) -> str:
        return f"{self.subnet}.1"

    def add(self) -> tuple[str, str]:
        """A namespace: its name and its address."""
        number = next(self._numbers)
        namespace, address = f"{self.name}-{number}", f"{self.subnet}.{number}"
        here, there = f"{self.name}v{number}", "eth0"  # 15 letters at most
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
        ip("link", "del", self._namespaces.pop(namespace))
        ip("netns", "del", namespace)

    def close(self) -> None:
        """Take everything away."""
        for namespace in list(self._namespaces):
            self.remove(namespace)
        ip("link", "del", self.name)


def _free(subnets: list[str]) -> str:
    """The first that nobody has, from one on that another process hardly begins with."""
    taken = ip("-o", "addr")
    start = os.getpid() % len(subnets)
    return next(subnet for subnet in subnets[start:] + subnets[:start] if f" {subnet}." not in taken)


def ip(*arguments: str) -> str:
    """What the program prints."""
    command = ["ip", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


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
