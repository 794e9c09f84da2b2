"""A deep version from its photos to being served: alone, and beside requests that take half of what the server can."""

import time
from typing import Any

from benchmarks import beside, photos, record, server

CUTS = {"blocks.5": 45.0, "blocks.4": 180.0}  # and the seconds that 1,000 photos may take
QUICK = {"blocks.5": 45.0}
EPOCHS, CLASSES = 10, 10
MAX_P99 = 2.0  # times


def measure(repetitions: int = 3, count: int = 1000, chosen: dict[str, float] | None = None) -> dict[str, Any]:
    """Seconds from the first byte sent to a live version, and p99 beside it of p99 without; and their limits."""
    chosen, results = CUTS if chosen is None else chosen, dict[str, Any]()
    epochs = EPOCHS if count > 100 else 1
    with server.running() as running:
        beside.taught(running.port, beside.HEAD, photos.crops(64, seed=99))  # to ask; and the worker has its torch
        for number, cut in enumerate(chosen):
            how = {"method": "deep", "hyperparameters": {"unfreeze": cut, "epochs": epochs}}
            alone = [_seconds(running.port, count, 100 * number + turn, how) for turn in range(repetitions)]
            plan = beside.Plan(1, count, 12.0 if count > 100 else 2.0, 6 * chosen[cut])
            turns = range(1000 * (number + 1), 1000 * (number + 1) + repetitions)
            told = [beside.measured(running.port, plan, turn, **how) for turn in turns]
            results |= {f"{cut}: live_s": record.spread(alone)}
            for name in ("job_s", "p99_ms_without", "p99_ms_with", "p99_ratio"):
                results[f"{cut}: {name}"] = record.spread([each[name] for each in told])
    limits = {f"{cut}: live_s": most for cut, most in chosen.items()}
    return results | {"limits": limits | {f"{cut}: p99_ratio": MAX_P99 for cut in chosen}}


def _seconds(port: int, count: int, number: int, how: dict[str, Any]) -> float:
    """Of 1,000 photos that the server has not seen, made before the clock starts."""
    pictures = photos.crops(count, CLASSES, seed=number)
    began = time.perf_counter()
    beside.taught(port, f"deep-{number}", pictures, **how)
    return time.perf_counter() - began
