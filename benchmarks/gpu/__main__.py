"""`python -m benchmarks.gpu`: exits with 1 when a check fails or a step breaks off."""

import argparse

from benchmarks.gpu import measure

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny settings, nothing recorded: is it sound?")
    options = parser.parse_args()
    wrong = measure.run(options.device, options.quick).wrong
    print("\n".join(wrong) or "all checks passed")
    raise SystemExit(bool(wrong))
