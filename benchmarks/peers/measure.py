"""Espalier beside its peers: same photos, same weights, same machine, same connections, turn by turn.

Goals: at least 4 times every peer that runs torch, 1.5 times every peer that runs ONNX; and with 50 heads as fast as
with one. Before it is timed, each system has to give the same probabilities, to 0.001, on a photo.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks import load, photos, record, server
from benchmarks.peers import assets, environments
from benchmarks.peers.catalogue import PEERS, Espalier, Peer, Served

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
    systems: list[System] = [Espalier(), *(peer for peer in PEERS if not names or peer.name in names)]
    for system in systems[1:]:
        environments.python(system.environment)
    with server.prepared() as home:
        assets.write(home, home / "peers", plan.heads[-1])
        rounds = [_round(systems, home, plan, number) for number in range(plan.repetitions)]
    results = _results(systems, rounds, plan)
    record.show(results)
    return results


def _round(systems: list[System], home: Any, plan: Plan, number: int) -> dict[str, Any]:
    """One turn of every system with every number of heads; who begins changes, as machines warm up and drift."""
    first = number % len(systems)
    found: dict[str, Any] = {}
    for system in [*systems[first:], *systems[:first]]:
        for heads in plan.heads:
            with system.serving(home, heads) as served:
                found[f"{system.name} {heads}"] = _measure(system, served, heads, plan.seconds)
            speed = _speed(found, system.name, heads)
            print(f"  {number + 1}: {system.name}, {heads} heads: {speed:.1f} images a second", flush=True)
    _agree({key: row.pop("probabilities") for key, row in found.items()})
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


def _agree(said: dict[str, list[list[float]]]) -> None:
    """Raises AssertionError when a system says something else than Espalier: then it does not do the same work."""
    ours = {len(rows): rows for key, rows in said.items() if key.startswith("espalier ")}
    for key, rows in said.items():
        difference = float(np.abs(np.array(rows) - np.array(ours[len(rows)])).max())
        assert difference <= AGREEMENT, f"{key} heads: probabilities differ from Espalier's by {difference:.4f}"


def _results(systems: list[System], rounds: list[dict[str, Any]], plan: Plan) -> dict[str, Any]:
    one, many = plan.heads
    results: dict[str, Any] = {}
    for system in systems:
        rows = {heads: [r[f"{system.name} {heads}"] for r in rounds] for heads in plan.heads}
        kept = [b["images_per_second"] / a["images_per_second"] for a, b in zip(rows[one], rows[many], strict=True)]
        results[system.name] = _figures(rows) | {f"kept_with_{many}": record.spread(kept)}
    for peer in systems[1:]:
        for heads in plan.heads:
            ratios = [_speed(r, "espalier", heads) / _speed(r, peer.name, heads) for r in rounds]
            results[peer.name][f"espalier_is_times_faster_{heads}"] = record.spread(ratios)
    notes = {"Peers": "; ".join(environments.versions(e) for e in sorted({p.environment for p in systems[1:]}))}
    return results | {"limits": _limits(systems, plan), "notes": notes}


def _figures(rows: dict[int, list[dict[str, float]]]) -> dict[str, Any]:
    names = ("images_per_second", "p99_ms", "resident_mib")
    return {
        f"{name}_{heads}": record.spread([r[name] for r in found]) for heads, found in rows.items() for name in names
    }


def _speed(found: dict[str, Any], name: str, heads: int) -> float:
    return found[f"{name} {heads}"]["images_per_second"]


def _limits(systems: list[System], plan: Plan) -> dict[str, float]:
    limits = {f"espalier: kept_with_{plan.heads[-1]}": MIN_KEPT}
    for peer in systems[1:]:
        limits |= {f"{peer.name}: espalier_is_times_faster_{n}": GOALS[str(peer.engine)] for n in plan.heads}
    return limits
