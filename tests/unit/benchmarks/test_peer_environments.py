"""Peers run what is written down: exact versions, and no other ones of what Espalier runs, too."""

import importlib.util
import re

import pytest

from benchmarks.peers import environments
from benchmarks.peers.catalogue import PEERS
from benchmarks.record import ROOT


def pins(text: str) -> dict[str, str]:
    """name → version; every line has both."""
    pairs = [re.fullmatch(r"([\w-]+)(?:\[\w+\])?==([\w.]+)", line) for line in text.splitlines() if line[0] != "#"]
    assert all(pairs)
    return {pair[1].lower(): pair[2] for pair in pairs if pair}


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_is_pinned_as_espalier_is(peer):
    wanted = pins((environments.REQUIREMENTS / f"{peer.environment}.txt").read_text())
    ours = pins((ROOT / "constraints.txt").read_text())
    assert {name: ours.get(name, version) for name, version in wanted.items()} == wanted


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_has_a_file_of_its_own(peer):
    named = next(part for part in peer.command if part.startswith("benchmarks.peers."))
    assert importlib.util.find_spec(named.partition(":")[0])
