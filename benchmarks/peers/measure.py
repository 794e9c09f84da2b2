"""Espalier beside its peers: same photos, same weights, same machine, same connections, turn by turn.

Goals: at least 4 times every peer that runs torch, 1.5 times every peer that runs the same ONNX graph; and with 50
heads as fast as with one. `espalier` is the default on processors made for int8, `espalier_fp32` everywhere else; peers
with ONNX are measured with either graph. Before they are timed, all of one precision have to give the same
probabilities, to 0.001, on a photo.
"""

import contextlib
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import load, photos, record, server
from benchmarks.peers import assets, environments
from benchmarks.peers.catalogue import OURS, PEERS, Espalier, Peer, Served

System = Peer | Espalier
CONNECTIONS = 16
AGREEMENT = 1e-3  # largest difference of a probability
GOALS = {"torch": 4.0, "onnx": 1.5}  # times their throughput
MIN_KEPT = 0.95  # of the throughput with one head


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured."""

    repetitions: int
    seconds: float  # of each turn
    heads: tuple[int, int]


FULL = Plan(5, 3.0, (1, 50))
QUICK = Plan(1, 1.0, (1, 3))


def main(quick: bool = False, names: tuple[str, ...] = ()) -> dict[str, Any]:
    """Measure and print; returns the results."""
    plan = QUICK if quick else FULL
    peers = [peer for peer in PEERS if not names or peer.name in names]
    for peer in peers:
        environments.python(peer.environment)
    with _homes(plan) as homes:
        rounds = [_round([*OURS, *peers], homes, plan, number) for number in range(plan.repetitions)]
    results = _results(peers, rounds, plan)
    record.show(results)
    return results


@contextlib.contextmanager
def _homes(plan: Plan) -> Iterator[dict[str, Path]]:
    """A prepared home with all heads for each precision, and the peers' files in it."""
    with contextlib.ExitStack() as stack:
        homes = {}
        for precision in (ours.precision for ours in OURS):
            homes[precision] = home = stack.enter_context(server.prepared(ESPALIER_PRECISION=precision))
            assets.write(home, precision, home / "peers", plan.heads[-1])
        yield homes


def _round(systems: list[System], homes: dict[str, Path], plan: Plan, number: int) -> dict[str, Any]:
    """One turn of every system with every number of heads; who begins changes, as machines warm up and drift."""
    first = number % len(systems)
    found: dict[str, Any] = {}
    for system in [*systems[first:], *systems[:first]]:
        for heads in plan.heads:
            with system.serving(homes[system.precision], heads) as served:
                found[f"{system.name} {heads}"] = _measure(system, served, heads, plan.seconds)
            speed = _speed(found, system.name, heads)
            print(f"  {number + 1}: {system.name}, {heads} heads: {speed:.1f} images a second", flush=True)
    for ours in OURS:
        alike = {s.name for s in systems if s.precision == ours.precision}
        _agree({key: row.pop("probabilities") for key, row in found.items() if key.split()[0] in alike}, ours.name)
    return found


def _measure(system: System, served: Served, heads: int, seconds: float) -> dict[str, Any]:
    pictures = _pictures()
    said = list(_ask(system, served, heads))
    turns = [(assets.name(n % heads), pictures[n % len(pictures)]) for n in range(16 * max(heads, 4))]
    requests = [system.request(head, data, served.port) for head, data in turns]
    load.run(requests, served.port, CONNECTIONS, seconds / 2).checked()
    seen = load.run(requests, served.port, CONNECTIONS, seconds).checked()
    return {
        "images_per_second": seen.throughput, "p99_ms": seen.percentile(0.99) * 1e3,
        "resident_mib": server.proportional(served.mark), "probabilities": said,
    }  # fmt: skip


@functools.cache
def _pictures() -> list[bytes]:
    return [data for data, _ in photos.crops(64)]


def _ask(system: System, served: Served, heads: int) -> Iterator[list[float]]:
    """What each head says of one photo, which also loads every head that is loaded late."""
    for number in range(heads):
        bodies: list[bytes] = []
        asked = system.request(assets.name(number), assets.photo(), served.port)
        load.run([asked], served.port, 1, 0, lambda answer, b=bodies: b.append(answer.body)).checked()
        yield system.read(json.loads(bodies[0]))


def _agree(said: dict[str, list[list[float]]], name: str) -> None:
    """Raises AssertionError when a system says something else than Espalier: then it does not do the same work."""
    ours = {len(rows): rows for key, rows in said.items() if key.startswith(f"{name} ")}
    for key, rows in said.items():
        difference = float(np.abs(np.array(rows) - np.array(ours[len(rows)])).max())
        assert difference <= AGREEMENT, f"{key} heads: probabilities differ from Espalier's by {difference:.4f}"


def _results(peers: list[Peer], rounds: list[dict[str, Any]], plan: Plan) -> dict[str, Any]:
    one, many = plan.heads
    results: dict[str, Any] = {}
    systems: list[System] = [*OURS, *peers]
    for system in systems:
        rows = {heads: [r[f"{system.name} {heads}"] for r in rounds] for heads in plan.heads}
        kept = [b["images_per_second"] / a["images_per_second"] for a, b in zip(rows[one], rows[many], strict=True)]
        results[system.name] = _figures(rows) | {f"kept_with_{many}": record.spread(kept)}
    for peer, ours, heads in product(peers, OURS, plan.heads):
        if (peer.precision, ours.precision) != ("int8", "fp32"):  # nobody would put the slower graph beside it
            ratios = [_speed(r, ours.name, heads) / _speed(r, peer.name, heads) for r in rounds]
            results[peer.name][_times(ours, heads)] = record.spread(ratios)
    notes = {"Peers": "; ".join(environments.versions(e) for e in sorted({p.environment for p in peers}))}
    return results | {"limits": _limits(peers, plan), "notes": notes}


def _times(ours: Espalier, heads: int) -> str:
    return f"{ours.name}_is_times_faster_{heads}"


def _figures(rows: dict[int, list[dict[str, float]]]) -> dict[str, Any]:
    names = ("images_per_second", "p99_ms", "resident_mib")
    return {
        f"{name}_{heads}": record.spread([r[name] for r in found]) for heads, found in rows.items() for name in names
    }


def _speed(found: dict[str, Any], name: str, heads: int) -> float:
    return found[f"{name} {heads}"]["images_per_second"]


def _limits(peers: list[Peer], plan: Plan) -> dict[str, float]:
    """Those with torch are what one would run instead of the default; those with ONNX are held to the same graph."""
    limits = {f"{ours.name}: kept_with_{plan.heads[-1]}": MIN_KEPT for ours in OURS}
    for peer, ours, heads in product(peers, OURS, plan.heads):
        if (peer.engine == "torch" and ours == OURS[0]) or (peer.engine == "onnx" and peer.precision == ours.precision):
            limits[f"{peer.name}: {_times(ours, heads)}"] = GOALS[peer.engine]
    return limits
