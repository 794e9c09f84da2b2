"""What `auto` makes of the same examples in this checkout and in another one: answers, accuracy, log-loss and seconds.

    git worktree add ../before COMMIT
    python -m benchmarks.races ../before [--data weather digits] [--seeds 5] [--shots 2 10 50 full]

Rounds are those of `adaptation` without its peers: same embeddings, training examples and test examples, one checkout
after the other in each round, in random order. `same_answers` is the share of rounds in which every probability of
every test example is the same, bit for bit.

Limits: accuracy within 2 % of the other's, and seconds too.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import adaptation, datasets, options, record

DATA, SEEDS, SHOTS = adaptation.DATA, 5, ("2", "10", "50", "full")
WITHIN = 0.98
FIGURES = ("accuracy", "log_loss", "seconds")

Row = dict[str, Any]


def main(other: Path, rounds: options.Rounds) -> dict[str, Any]:
    """Measure and print; returns the results."""
    for name in rounds.data:
        datasets.load(name, taps=True)  # embedded once, for both
    with ExitStack() as stack:
        asked = [stack.enter_context(_racing(checkout)) for checkout in (record.ROOT, other.resolve())]
        pairs = [pair for task in _tasks(rounds) if (pair := _round(asked, task))]
    found = _figures(pairs) | {"notes": {"beside": f"commit {record.commit(other)}"}}
    record.show(found)
    return found


def _tasks(rounds: options.Rounds) -> Iterator[Row]:
    for name in rounds.data:
        for shots in rounds.shots:
            yield from ({"data": name, "shots": shots, "seed": seed} for seed in range(rounds.seeds))


def _round(asked: list["_Racer"], task: Row) -> tuple[Row, Row] | None:
    """Ours and theirs; None where a data set has not so many examples a class."""
    rows: dict[int, Row] = {}
    for turn in np.random.default_rng().permutation(len(asked)).tolist():
        rows[turn] = asked[turn].run(task)
    if not rows[0]:
        return None
    told = " ".join(f"{figure} {rows[0][figure]:.4f} {rows[1][figure]:.4f}" for figure in FIGURES)
    print(f"  {task['data']:9} {task['shots']:>5} {task['seed']} {told}", flush=True)
    return rows[0], rows[1]


def _figures(pairs: list[tuple[Row, Row]]) -> dict[str, Any]:
    """Of each data set and number of shots, and over all."""
    found: dict[str, Any] = {"rounds": len(pairs)}
    found["same_answers"] = float(np.mean([ours["answers"] == theirs["answers"] for ours, theirs in pairs]))
    for figure in FIGURES:
        for key in dict.fromkeys((ours["data"], ours["shots"]) for ours, _ in pairs):
            mine = [pair for pair in pairs if (pair[0]["data"], pair[0]["shots"]) == key]
            for whose, side in (("ours", 0), ("theirs", 1)):
                found[f"{', '.join(key)}: {figure}, {whose}"] = record.spread([pair[side][figure] for pair in mine])
    found["accuracy_kept"] = record.spread([_ratio(pairs, "accuracy")])
    found["pace_kept"] = record.spread([1 / _ratio(pairs, "seconds")])
    return found | {"limits": {"accuracy_kept": WITHIN, "pace_kept": WITHIN}}


def _ratio(pairs: list[tuple[Row, Row]], figure: str) -> float:
    return sum(ours[figure] for ours, _ in pairs) / sum(theirs[figure] for _, theirs in pairs)


class _Racer:
    """A checkout that is asked for one round after the other."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def run(self, task: Row) -> Row:
        """A row; empty where there are too few examples."""
        assert self._process.stdin is not None and self._process.stdout is not None
        print(json.dumps(task), file=self._process.stdin, flush=True)
        row: Row = json.loads(self._process.stdout.readline())
        return row


@contextmanager
def _racing(checkout: Path) -> Iterator[_Racer]:
    """`_answer` with the code of a checkout."""
    command = [sys.executable, "-P", __file__, "--answer", str(datasets.CACHE)]
    code = os.environ | {"PYTHONPATH": str(checkout)}
    process = subprocess.Popen(
        command, cwd=checkout, env=code, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )  # fmt: skip
    try:
        yield _Racer(process)
    finally:
        process.kill()
        process.wait()


def _answer(cache: Path) -> None:
    """Rounds as JSON lines → rows as JSON lines, until there are no more; embeddings are those in `cache`."""
    datasets.CACHE = cache
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // 2))  # as the worker has it
    for line in sys.stdin:
        print(json.dumps(_raced(**json.loads(line))), flush=True)


def _raced(data: str, shots: str, seed: int) -> Row:
    embeddings, targets, groups = datasets.load(data, taps=True)
    train, test = adaptation.drawn(targets, groups, shots, np.random.default_rng(seed))
    if train is None:
        return {}
    began = time.perf_counter()
    fitted, _ = adaptation._auto(embeddings[train], targets[train], groups[train])
    seconds = time.perf_counter() - began
    answers = np.ascontiguousarray(fitted(embeddings[test]))
    return {
        "data": data, "shots": shots, "seed": seed, "seconds": seconds,
        "accuracy": float((answers.argmax(1) == targets[test]).mean()),
        "log_loss": adaptation.log_loss(answers, targets[test]),
        "answers": hashlib.sha256(answers.tobytes()).hexdigest(),
    }  # fmt: skip


if __name__ == "__main__":
    if "--answer" in sys.argv:
        _answer(Path(sys.argv[-1]))
    else:
        parser = options.parser(__doc__, options.Rounds(DATA, SEEDS, SHOTS))
        parser.add_argument("other", type=Path)
        given = vars(parser.parse_args())
        record.save("races", main(given.pop("other"), options.Rounds(**given)))
