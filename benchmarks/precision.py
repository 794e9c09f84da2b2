"""int8 against fp32 of the embedded backbone: what heads lose, and what the bare backbone gains.

    python -m benchmarks.precision [--data weather digits cells platelets] [--seeds 10] [--without-times] [--save]

Accuracy is paired: for each seed the same training and test examples, whole groups of near-duplicates, embedded in
each precision; `auto` trains a head on each. The limit is what may be lost on average, in points of accuracy, for
int8 to become a default. Times are of one thread that embeds one image after the other, the precisions in turns
within one run, because machines drift. int8 gains little where the processor has no VNNI; the result says which has.
"""

import time
from typing import Any

import numpy as np

from adapters.runtime.backbone import BackboneSession
from adapters.runtime.onnx import processor
from benchmarks import datasets, options, record
from benchmarks.adaptation import _auto, drawn

DATA = ("weather", "digits", "cells", "platelets")
SHOTS = ("10", "full")  # examples of a class; full: two thirds of the data set
SEEDS = 10
PRECISIONS = ("fp32", "int8")
PARTS = {"pooled": slice(datasets.POOLED), "taps": slice(datasets.POOLED, None)}
MAX_LOST = 0.5  # points
REPETITIONS, IMAGES = 9, 60


def main(
    names: tuple[str, ...] = DATA, seeds: int = SEEDS, shots: tuple[str, ...] = SHOTS, times: bool = True
) -> dict[str, Any]:
    """Measure and print; returns the results."""
    results: dict[str, Any] = {"limits": {}}
    for name in names:
        results[f"{name}: cosine"] = _shown(f"{name}: cosine", _cosine(name))
        results[f"{name}: noise"] = _shown(f"{name}: noise", _noise(name))
        for count in shots:
            key = f"{name}: {count} a class" if count != "full" else f"{name}: all"
            results[key] = _shown(key, _lost(name, count, seeds))
            results["limits"] |= {f"{key}: {p}_lost_points_mean": MAX_LOST for p in PRECISIONS[1:]}
    return results | ({"bare": _shown("bare", _bare())} if times else {})


def _shown(key: str, row: dict[str, Any]) -> dict[str, Any]:
    for name, values in row.items():
        print(f"  {key:24} {name:18} {values}", flush=True)
    return row


def _cosine(name: str) -> dict[str, Any]:
    """Of each image's embedding with its fp32 one, by precision."""
    found = {}
    for part, numbers in PARTS.items():
        full, *others = _parts(name, numbers)
        for precision, small in zip(PRECISIONS[1:], others, strict=True):
            norms = np.linalg.norm(full, axis=1) * np.linalg.norm(small, axis=1)
            found[f"{precision}, {part}"] = record.spread(((full * small).sum(axis=1) / norms).tolist())
    return found


def _parts(name: str, numbers: slice) -> list[Any]:
    """Part of a data set's embeddings in each precision, f64 [N, L]."""
    return [datasets.load(name, p, taps=True)[0][:, numbers].astype(np.float64) for p in PRECISIONS]


def _noise(name: str) -> dict[str, Any]:
    """What changes in embeddings, as a share of what tells the images of the set apart: roots of mean squares.

    A change that all images share is none: heads that are trained on it do not see it.
    """
    found = {}
    for part, numbers in PARTS.items():
        full, *others = _parts(name, numbers)
        told = full - full.mean(axis=0)
        for precision, small in zip(PRECISIONS[1:], others, strict=True):
            changed = small - full
            changed = changed - changed.mean(axis=0)
            found[f"{precision}, {part}"] = record.spread([float(((changed**2).sum() / (told**2).sum()) ** 0.5)])
    return found


def _lost(name: str, count: str, seeds: int) -> dict[str, Any]:
    """Test accuracy in percent by precision; the paired loss in points, by seed and as a mean with 95 % interval."""
    percent = np.array([_right(name, count, seed) for seed in range(seeds)])  # [seeds, precisions]
    found = {f"{p}_accuracy": record.spread(percent[:, i].tolist()) for i, p in enumerate(PRECISIONS)}
    for number, precision in enumerate(PRECISIONS[1:], start=1):
        lost = percent[:, 0] - percent[:, number]
        half = 1.96 * float(lost.std(ddof=1)) / len(lost) ** 0.5 if len(lost) > 1 else float("nan")
        mean = float(lost.mean())
        found[f"{precision}_lost_points"] = record.spread(lost.tolist())
        found[f"{precision}_lost_points_mean"] = {
            "median": mean, "min": mean - half, "max": mean + half, "repetitions": seeds,
        }  # fmt: skip
    return found


def _right(name: str, count: str, seed: int) -> list[float]:
    """Percent right on the same test examples, by precision."""
    _, targets, groups = datasets.load(name)
    train, test = drawn(targets, groups, count, np.random.default_rng(seed))
    assert train is not None, f"{name} has fewer than {count} examples of a class"
    found = []
    for precision in PRECISIONS:
        embeddings, _, _ = datasets.load(name, precision, taps=True)
        fitted, _ = _auto(embeddings[train], targets[train], groups[train])
        found.append(100 * float((fitted(embeddings[test]).argmax(axis=1) == targets[test]).mean()))
    return found


def _bare() -> dict[str, Any]:
    """Images per second of either precision, their ratio, and whether the processor multiplies bytes natively."""
    loaded = [datasets.session_of(precision) for precision in PRECISIONS]
    side = loaded[0].backbone.spec.size
    pixels = np.random.default_rng(0).integers(0, 256, (IMAGES, side, side, 3), dtype=np.uint8)
    rows = np.array([[_rate(session, pixels) for session in loaded] for _ in range(REPETITIONS + 1)])[1:]  # warm
    found = {f"{p}_images_per_second": record.spread(rows[:, i].tolist()) for i, p in enumerate(PRECISIONS)}
    for number, precision in enumerate(PRECISIONS[1:], start=1):
        found[f"{precision}_over_fp32"] = record.spread((rows[:, number] / rows[:, 0]).tolist())
    found["fast_int8"] = record.spread([float(processor.fast_int8())])
    return found


def _rate(session: BackboneSession, pixels: Any) -> float:
    began = time.perf_counter()
    for picture in pixels:
        session.embed([{"pixels": picture}])
    return len(pixels) / (time.perf_counter() - began)


if __name__ == "__main__":
    parser = options.parser(__doc__, options.Rounds(DATA, SEEDS, SHOTS))
    parser.add_argument("--without-times", action="store_true", help="on a machine that is busy with other things")
    parser.add_argument("--save", action="store_true", help="to benchmarks/results/precision.json")
    asked_for = parser.parse_args()
    measured = main(tuple(asked_for.data), asked_for.seeds, tuple(asked_for.shots), not asked_for.without_times)
    if asked_for.save:
        record.save("precision", measured)
