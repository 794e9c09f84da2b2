"""Small requests that succeed and have large answers: many inputs, heads, classes, rows of a page.

The inputs of most are one image over and over: it is decoded once, and the answer is what costs.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from adapters.store.database import now
from adapters.store.schema import examples, jobs, versions
from adapters.types import Floats
from benchmarks import synthetic
from benchmarks.costly_requests import END, FIELD, FORM, Makers, get, post

INPUTS = 1024  # of a request, the most there may be
TOGETHER = 32  # heads of one
ROWS = 1000  # of a page, the most there may be
CLASSES, MANY = 10, 1000  # of most heads, and of one
WIDE = "wide"  # the head of many
FILE = '--xx\r\nContent-Disposition: form-data; name="images"; filename="a"\r\n\r\n'


def fill(home: Path, heads: int = ROWS, older: tuple[int, ...] = (2, 3)) -> None:
    """A home that was prepared gets heads, each with metrics as training leaves them, and examples and jobs of one.

    `older`: numbers of further versions of each.
    """
    store = synthetic.Store.of(home)
    synthetic.publish(store, (_head(store, _name(number), CLASSES) for number in range(heads)))
    synthetic.publish(store, [_head(store, WIDE, MANY)])
    with store.engine.begin() as connection:
        if rows := [_older(store, n, v) for n in range(heads) for v in older]:
            connection.execute(versions.insert(), rows)
        connection.execute(examples.insert(), [_example(number) for number in range(ROWS)])
        connection.execute(jobs.insert(), [_job(number) for number in range(ROWS)])
    store.engine.dispose()


def _name(number: int) -> str:
    return f"head-{number:04}"


def _head(store: synthetic.Store, name: str, count: int) -> synthetic.Made:
    weight, bias = _weights(store.backbone.dimension, count)
    made = synthetic.linear(store.backbone, name, weight, bias, _classes(count))
    return synthetic.Made(name, made.graph, made.manifest | {"metrics": metrics(count)})


def _weights(dimension: int, count: int) -> tuple[Floats, Floats]:
    random = np.random.default_rng(count)
    return random.normal(size=(dimension, count)).astype(np.float32), np.zeros(count, np.float32)


def _classes(count: int) -> list[str]:
    return [f"class {number:04}" for number in range(count)]


def metrics(count: int) -> dict[str, Any]:
    """As the report of a version of so many classes has them."""
    row = {"precision": 1 / 3, "recall": 2 / 3, "f1": 4 / 9, "support": 7}
    return {
        "examples": 70, "accuracy": 2 / 3, "accuracy_interval": [0.55, 0.77], "balanced_accuracy": 2 / 3,
        "macro_f1": 4 / 9, "log_loss": 1 / 7, "ece": 1 / 30, "majority_baseline": 0.1,
        "per_class": {label: row for label in _classes(count)},
    }  # fmt: skip


def _older(store: synthetic.Store, number: int, version: int) -> dict[str, Any]:
    """Further versions of a head, which nothing serves."""
    facts = {"name": store.backbone.name, "digest": store.backbone.digest}
    manifest = {"method": "logistic", "classes": _classes(CLASSES), "metrics": metrics(CLASSES), "backbone": facts}
    return {
        "head": _name(number), "number": version, "digest": "0" * 64, "status": "published", "manifest": manifest,
        "job_id": f"older-{number}-{version}", "created_at": now(),
    }  # fmt: skip


def _example(number: int) -> dict[str, Any]:
    return {
        "head": _name(0), "sha256": f"{number:064x}", "label": "class 0001", "file_name": f"{number}.png",
        "assigned_split": "train", "job_id": "none",
    }  # fmt: skip


def _job(number: int) -> dict[str, Any]:
    report = {"metrics": metrics(CLASSES)}
    return {
        "id": f"job_{number:036}", "head": _name(0), "request": {"head": _name(0)}, "status": "succeeded",
        "progress": {}, "version": 1, "metrics": metrics(CLASSES), "report": report, "cancel_requested": False,
        "fingerprint": "", "created_at": now(), "updated_at": now(), "sequence": number + 1,
    }  # fmt: skip


def images(count: int, *fields: str, kinds: int = 1) -> bytes:
    """A form with so many tiny images, of which so many are different; all of them have one length."""
    files = [_image(number) for number in range(kinds)]
    parts = (FILE.encode() + files[number % kinds] + b"\r\n" for number in range(count))
    return b"".join(parts) + "".join(fields).encode() + END.encode()


def _image(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (4, 4), (number % 256, number // 256, 200)).save(file, "BMP")
    return file.getvalue()


def _predict(count: int, *fields: str) -> bytes:
    return post("/predict", images(count, *fields), FORM)


def _heads(count: int) -> Iterator[str]:
    return (FIELD % ("head", _name(number)) for number in range(count))


def _of_wide(top_k: int) -> list[str]:
    return [FIELD % ("head", WIDE), FIELD % ("top_k", str(top_k))]


REQUESTS: Makers[bytes] = {
    "embed": lambda: post("/embed", images(INPUTS), FORM),
    "embed inputs of one length": lambda: post("/embed", images(INPUTS // 4, kinds=INPUTS // 4), FORM),
    "embed with taps": lambda: post("/embed", images(INPUTS, FIELD % ("taps", "true")), FORM),
    "predict: inputs × heads": lambda: _predict(INPUTS, *_heads(TOGETHER)),
    "predict: one input of many classes": lambda: _predict(1, *_of_wide(MANY)),
    "predict: inputs of many classes": lambda: _predict(INPUTS, *_of_wide(MANY)),
    "suggest": lambda: post(f"/heads/{_name(0)}/suggest", images(INPUTS, FIELD % ("count", "1000")), FORM),
    "heads": lambda: get(f"/heads?limit={ROWS}"),
    "jobs": lambda: get(f"/jobs?limit={ROWS}"),
    "examples": lambda: get(f"/heads/{_name(0)}/examples?limit={ROWS}"),
    "a head of many classes": lambda: get(f"/heads/{WIDE}"),
    "a manifest of many classes": lambda: get(f"/heads/{WIDE}/versions/1"),
}
