"""All that needs a GPU: is it really used, does it answer as the CPU does, and how fast is it.

`python -m benchmarks.gpu` takes some minutes; `--device cpu --quick` tries the script itself. Every step is tried,
whatever became of the others, so that one run on a borrowed machine tells as much as it can.
"""
