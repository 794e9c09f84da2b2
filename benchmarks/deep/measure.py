"""Deep versions against shallow ones, all layers, plain loops in torch and training from scratch; on a server, too.

    python -m benchmarks deep                      # everything, recorded: many hours; an interrupted run goes on
    python -m benchmarks deep --quick              # is it sound?
    python -m benchmarks.deep.measure [--data gtsrb digits] [--seeds 2] [--shots 20 full] [--ways auto blocks.5]
        [--parts tables loops texts server networks] [--precision fp32]   # some of it; `benchmarks deep` has those rows
    python -m benchmarks.deep.measure --record    # the rows that there are; server and networks are measured now

Three tenths of a data set, whole groups of near-duplicates, are the test set of a seed; `shots` examples of each class
of the rest are trained on (of gtsrb's 60 a class, `full` leaves 42). Ways: heads that read `pooled`, all of an
embedding, or what the race decides (`shallow`); tails by their cut and `all` layers, whatever the evidence says; and
`auto`, which takes the deep round's answer where that has the evidence. Differences are paired. Seconds are of
processor, by the process's own clock. Limits: see `summary`, `server`.
"""

import sys
from collections.abc import Sequence
from typing import Any

import torch

from adapters.runtime.onnx import processor
from benchmarks import options, photo_sets, record, report
from benchmarks.deep import loops, networks, rows, server, summary, texts
from benchmarks.deep.rounds import Draw, Photos
from benchmarks.deep.rounds import rows as measured

DATA = ["gtsrb", "cells", "omniglot", "alphabets", "weather", "digits"]
DATA += ["fashion"] * photo_sets.FASHION.exists() + ["cifar"] * photo_sets.CIFAR.exists()
SEEDS, SHOTS, TEXT_SHOTS = 5, ("20", "50", "full"), ("20", "50")
WAYS = ("pooled", "taps", "shallow", "blocks.5", "blocks.4", "auto")
ALL_SEEDS = 2  # of all layers, and of loops in torch: hours
PARTS = ("tables", "loops", "texts", "server", "networks")
PARITY = 1e-4
TINY: dict[str, Any] = {"epochs": 1}

Row = dict[str, Any]


def main(quick: bool = False) -> dict[str, Any]:
    """Measure what is not yet measured, and print; returns the results."""
    if quick:
        return _tiny()
    tables(DATA, SEEDS, SHOTS, WAYS)
    tables(("gtsrb",), ALL_SEEDS, ("full",), ("all",))
    plain_loops(ALL_SEEDS)
    questions(SEEDS, TEXT_SHOTS)
    return _results(rows.kept(), server.measure(), networks.measure())


def tables(
    data: Sequence[str], seeds: int, shots: Sequence[str], ways: Sequence[str], precision: str | None = None
) -> None:
    """A row for each way, seed, number of shots and data set that there is none of yet."""
    threads()
    precision, found = precision or record.precision(), {rows.key(row) for row in rows.kept()}
    for name in data:
        photos = Photos.load(name, precision)
        for count in shots:
            for seed in range(seeds):
                about = {"part": "tables", "precision": precision, "data": name, "shots": count, "seed": seed}
                left = [way for way in ways if rows.key(about | {"way": way}) not in found]
                draw = Draw(photos, precision, count, seed)
                if draw.train is not None and left:
                    for row in measured(draw, left):
                        _show(rows.keep(about | row))


def plain_loops(seeds: int) -> None:
    """fine_tune and from scratch, of the traffic signs, in fp32 as torch has them."""
    threads()
    found, photos = {rows.key(row) for row in rows.kept()}, Photos.load("gtsrb", "fp32")
    for seed in range(seeds):
        for loop in loops.EACH:
            about = {"part": "loops", "precision": record.precision(), "seed": seed, **summary.SIGNS}
            if rows.key(about | {"way": loop.way}) not in found:
                _show(rows.keep(about | loops.run(loop, Draw(photos, "fp32", "full", seed), seed)))


def questions(seeds: int, shots: Sequence[str]) -> None:
    """Of texts, whose encoder is in fp32."""
    threads()
    found, loaded = {rows.key(row) for row in rows.kept()}, None
    for count in shots:
        for seed in range(seeds):
            about = {"part": "texts", "precision": "fp32", "data": texts.DATA, "shots": count, "seed": seed}
            if any(rows.key(about | {"way": way}) not in found for way in texts.WAYS):
                loaded = loaded or texts.Questions.load()
                for row in texts.rows(loaded, count, seed):
                    _show(rows.keep(about | row))


def threads() -> None:
    """As the worker has it."""
    torch.set_num_threads(max(1, processor.cores() // 2))


def _show(row: Row) -> None:
    figures = " ".join(f"{name} {row[name]:.4g}" for name in summary.FIGURES)
    print(f"  {row['data']:9} {row['shots']:>5} {row['seed']} {row['way']:9} {figures}  {row['won']}", flush=True)


def _results(kept: Sequence[Row], *others: dict[str, Any]) -> dict[str, Any]:
    """One table of all parts."""
    chosen = record.precision()
    found = summary.results([row for row in kept if row["precision"] == chosen or row["part"] == "texts"])
    limits = dict(found.pop("limits"))
    for part in others:
        limits |= part.get("limits", {})
        found |= {name: row for name, row in part.items() if name != "limits"}
        limits |= {name: PARITY for name in part if name.endswith("against torch")}
    record.show(found)
    return found | {"limits": limits}


def _tiny() -> dict[str, Any]:
    """Digits, one epoch, three of a class: every part once, nothing kept."""
    threads()
    photos, precision = Photos.load("digits", "fp32"), "fp32"
    draw = Draw(photos, precision, "4", 0)
    draw.test = draw.test[:50]
    about = {"data": "digits", "shots": "4", "seed": 0, "precision": record.precision()}
    found = [about | row for row in measured(draw, ("pooled", "shallow", "blocks.5", "auto"), **TINY)]
    short = loops.Loop("fine_tune", None, 1, 1, loops.SLOWER, loops.RATE)
    found.append(about | loops.run(short, draw, 0))
    return _results(found, networks.measure(networks.QUICK))


def _some(arguments: Sequence[str]) -> None:
    """What the command line names."""
    parser = options.parser(__doc__, options.Rounds(DATA, SEEDS, SHOTS))
    parser.add_argument("--ways", nargs="+", default=WAYS)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=["tables"])
    parser.add_argument("--precision", default=None)
    parser.add_argument("--record", action="store_true")
    asked = parser.parse_args(arguments)
    if asked.record:
        record.save("deep", _results(rows.kept(), server.measure(), networks.measure()))
        return report.write()
    if "tables" in asked.parts:
        tables(asked.data, asked.seeds, asked.shots, asked.ways, asked.precision)
    if "loops" in asked.parts:
        plain_loops(min(asked.seeds, ALL_SEEDS))
    if "texts" in asked.parts:
        questions(asked.seeds, [count for count in asked.shots if count != "full"])
    if "server" in asked.parts:
        record.show(server.measure())
    if "networks" in asked.parts:
        record.show(networks.measure())


if __name__ == "__main__":
    _some(sys.argv[1:])
