"""What the benchmarks that go through data sets, shots and seeds may be asked on the command line."""

import argparse
from collections.abc import Sequence
from typing import NamedTuple


class Rounds(NamedTuple):
    """What to go through: names of data sets, number of seeds, examples a class (`full`: all)."""

    data: Sequence[str]
    seeds: int
    shots: Sequence[str]


def rounds(about: str | None, default: Rounds) -> Rounds:
    """What the command line asks for, `default` where it is silent; `about` is what --help says."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--data", nargs="+", default=default.data)
    parser.add_argument("--seeds", type=int, default=default.seeds)
    parser.add_argument("--shots", nargs="+", default=default.shots)
    return Rounds(**vars(parser.parse_args()))
