"""`make bench`: every benchmark that needs no GPU and little time, then the tables of docs/benchmarks.md.

The others are run by name, `make bench ARGS=peers`: they take longer, need data that is not in this repository
(`adaptation`, `banking`, `deep`, `ece`, `trust`, `cells`, `precision`, `suggesting`, `taps`, `text`, `views`), need a
GPU (`gpu`), or answer a question of design (`threads`, `allocators`, `grouping`, `layers`). `--quick` tries one out:
tiny settings, nothing recorded.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks import (
    access,
    adaptation,
    allocators,
    banking,
    beside,
    calibration,
    cells,
    chaos,
    crowd,
    damage_checks,
    decode,
    deep_serving,
    durability,
    ece,
    finetuning,
    footprint,
    grouping,
    heads,
    heads_page,
    layers,
    many_examples,
    matrix,
    outages,
    overload,
    precision,
    propagation,
    record,
    report,
    scale_out,
    serving,
    small_requests,
    soak,
    suggesting,
    swaps,
    taps,
    taps_cost,
    text,
    threads,
    training,
    trust,
    views,
)
from benchmarks.deep import measure as deep
from benchmarks.gpu import measure as gpu
from benchmarks.peers import measure as peers

ALL: dict[str, Any] = {
    "decode": decode, "serving": serving, "finetuning": finetuning, "training": training, "footprint": footprint,
}  # fmt: skip
LONG: dict[str, Any] = {
    "matrix": matrix, "heads": heads, "peers": peers, "swaps": swaps, "beside": beside, "overload": overload,
    "grouping": grouping, "layers": layers, "gpu": gpu, "soak": soak, "many_examples": many_examples,
    "small_requests": small_requests, "durability": durability, "damage_checks": damage_checks, "deep": deep,
    "deep_serving": deep_serving, "heads_page": heads_page,
    "access": access, "chaos": chaos, "crowd": crowd, "outages": outages, "propagation": propagation,
    "scale_out": scale_out, "text": text,
}  # fmt: skip
BY_NAME = ALL | LONG | {
    "adaptation": adaptation, "allocators": allocators, "banking": banking, "calibration": calibration,
    "cells": cells, "ece": ece, "precision": precision, "suggesting": suggesting, "taps": taps,
    "taps_cost": taps_cost, "threads": threads, "trust": trust, "views": views,
}  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the named benchmarks, or all that take little time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BY_NAME], metavar="NAME", help=", ".join(BY_NAME))
    parser.add_argument("--quick", action="store_true", help="tiny settings, nothing recorded: is it sound?")
    options = parser.parse_args(arguments)
    for name in options.names or ALL:
        print(f"{name}:", flush=True)
        if options.quick and name not in LONG:
            parser.error(f"{name} has no quick settings; these have: {', '.join(LONG)}")
        if options.quick:
            LONG[name].main(quick=True)
            continue
        record.save(name, BY_NAME[name].main())
        report.write()


if __name__ == "__main__":
    main()
