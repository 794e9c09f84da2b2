"""`make bench`: every benchmark that needs no GPU and little time, then the tables of docs/benchmarks.md.

The others are run by name, `make bench ARGS=peers`: they take longer, or need photos that are not in this repository
(`trust`). `--quick` tries one out: tiny settings, nothing recorded.
"""

import argparse
from collections.abc import Sequence
from typing import Any

from benchmarks import decode, finetuning, footprint, record, report, serving, training, trust
from benchmarks.peers import measure as peers

ALL: dict[str, Any] = {
    "decode": decode, "serving": serving, "finetuning": finetuning, "training": training, "footprint": footprint,
}  # fmt: skip
BY_NAME = ALL | {"trust": trust, "peers": peers}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the named benchmarks, or all that take little time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BY_NAME], metavar="NAME", help=", ".join(BY_NAME))
    parser.add_argument("--quick", action="store_true", help="tiny settings, nothing recorded")
    options = parser.parse_args(arguments)
    for name in options.names or ALL:
        print(f"{name}:", flush=True)
        if options.quick:
            BY_NAME[name].main(quick=True)
        else:
            record.save(name, BY_NAME[name].main())
    if not options.quick:
        report.write()


if __name__ == "__main__":
    main()
