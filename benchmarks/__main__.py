"""`make bench`: every benchmark that needs no GPU, then the tables of docs/benchmarks.md.

`trust` and `precision` need photos that are not in this repository, so they are run by name: `make bench ARGS=trust`.
"""

import sys

from benchmarks import decode, finetuning, footprint, precision, record, report, serving, training, trust

ALL = {
    "decode": decode, "serving": serving, "finetuning": finetuning, "training": training, "footprint": footprint,
}  # fmt: skip
BY_NAME = ALL | {"trust": trust, "precision": precision}


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all."""
    for name in names or ALL:
        print(f"{name}:", flush=True)
        record.save(name, BY_NAME[name].main())
    report.write()


if __name__ == "__main__":
    main(sys.argv[1:])
