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
    return Rounds(**vars(parser(about, default).parse_args()))


def parser(about: str | None, default: Rounds) -> argparse.ArgumentParser:
    """The same, for those that take more: --data, --seeds and --shots are in it."""
    found = argparse.ArgumentParser(description=about)
    found.add_argument("--data", nargs="+", default=default.data)
    found.add_argument("--seeds", type=int, default=default.seeds)
    found.add_argument("--shots", nargs="+", default=default.shots)
    return found
