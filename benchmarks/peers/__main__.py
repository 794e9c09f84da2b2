"""`python -m benchmarks.peers` is `python -m benchmarks peers`."""

import sys

from benchmarks.__main__ import main

main(["peers", *sys.argv[1:]])
