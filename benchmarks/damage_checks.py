"""What it costs to look for damage in a photo, as a share of all that a /predict does with it.

Decoded in turns with the checks and without (`jpeg.flaw`: holes and missing scans; `png.check`: checksums and ends of
chunks), in one thread, by its own clock: another process makes no figure larger. The pass is decoding, the default
backbone, and a head of ten classes. Limit: 2 % of the pass, for each kind of photo.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from typing import Any
from unittest import mock

import numpy as np

from adapters.modalities import image
from adapters.modalities.image import jpeg, png
from adapters.runtime.backbone import BackboneSession
from adapters.runtime.heads.head import Head
from benchmarks import photos, record, server, synthetic
from examples import digits

LIMIT = 0.02
PICTURES, TURNS, ROUNDS = 24, 20, 9  # of a kind; decodes of each picture in a round, each way
QUICK = (2, 1, 1)
CLASSES = [str(n) for n in range(10)]

Work = Callable[[], Any]


def main(quick: bool = False) -> dict[str, Any]:
    """Measure and print; returns the results."""
    pictures, turns, rounds = QUICK if quick else (PICTURES, TURNS, ROUNDS)
    with server.prepared() as home:
        store = synthetic.Store.of(home)
        session = BackboneSession(store.backbone, store.artifacts.get(store.backbone.artifact))
    head = _head(session)
    results: dict[str, Any] = {}
    for kind, some in _kinds(pictures).items():
        found = [_round(session, head, some, turns) for _ in range(rounds + 1)][1:]  # the first warms up
        results |= {f"{kind}: {name}": record.spread([each[name] for each in found]) for name in found[0]}
    worst = max((row for name, row in results.items() if name.endswith("share")), key=lambda row: row["median"])
    results |= {"worst_share": worst, "limits": {"worst_share": LIMIT}}
    record.show(results)
    return results


def _kinds(count: int) -> dict[str, list[bytes]]:
    """Crops of photos as they are sent to us, and the demo's own pictures."""
    sizes = {"JPEG 224×224": (224, 224), "JPEG 640×427": (640, 427)}
    crops = {name: [data for data, _ in photos.crops(count, width=w, height=h)] for name, (w, h) in sizes.items()}
    return crops | {"PNG of the demo": [one.png for one in digits.load()[0][:count]]}


def _head(session: BackboneSession) -> Head:
    dimension = session.backbone.dimension
    weight = np.random.default_rng(0).normal(0, 0.05, (dimension, len(CLASSES))).astype(np.float32)
    bias = np.zeros(len(CLASSES), np.float32)
    return Head.from_bytes(synthetic.linear(session.backbone, "checked", weight, bias, CLASSES).graph)


def _round(session: BackboneSession, head: Head, pictures: Sequence[bytes], turns: int) -> dict[str, float]:
    """Milliseconds a picture. Both ways of a picture follow each other at once, and take turns in being first."""
    spec, checked, unchecked, whole = session.backbone.spec, 0.0, 0.0, 0.0
    for number, data in enumerate(pictures):
        for turn in range(turns):
            for checks in (True, False) if (number + turn) % 2 else (False, True):
                spent = _spent(lambda data=data: image.decode(data, spec), checks)
                checked, unchecked = (checked + spent, unchecked) if checks else (checked, unchecked + spent)
        whole += _spent(lambda data=data: head.answer(session.embed([image.decode(data, spec)])[:, : head.reads]))
    each = turns * len(pictures)
    found = {"decode_ms": checked / each, "unchecked_ms": unchecked / each, "pass_ms": whole / len(pictures)}
    found["share"] = (found["decode_ms"] - found["unchecked_ms"]) / found["pass_ms"]
    return found


def _spent(work: Work, checks: bool = True) -> float:
    """Milliseconds of this thread."""
    with nullcontext() if checks else _without_checks():
        began = time.thread_time()
        work()
        return (time.thread_time() - began) * 1e3


def _without_checks() -> ExitStack:
    stack = ExitStack()
    stack.enter_context(mock.patch.object(jpeg, "flaw", lambda data, head: None))
    stack.enter_context(mock.patch.object(png, "check", lambda data: None))
    return stack


if __name__ == "__main__":
    record.save("damage_checks", main())
