"""`make bench`: every benchmark that needs no GPU, then the tables of docs/benchmarks.md."""

import sys

from benchmarks import decode, finetuning, footprint, record, report, serving, training

ALL = {
    "decode": decode, "serving": serving, "finetuning": finetuning, "training": training, "footprint": footprint,
}  # fmt: skip


def main(names: list[str]) -> None:
    """Run the named benchmarks, or all."""
    for name in names or ALL:
        print(f"{name}:", flush=True)
        record.save(name, ALL[name].main())
    report.write()


if __name__ == "__main__":
    main(sys.argv[1:])
