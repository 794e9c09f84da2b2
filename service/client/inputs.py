"""Inputs as parts of a form: labeled ones to learn from, others to answer for."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Part = tuple[str, tuple[str, bytes, str]]  # field, (file name, bytes, media type)


@dataclass(frozen=True, slots=True)
class LabeledImage:
    """One image to learn from; `data` is read when it is sent."""

    file_name: str
    data: Callable[[], bytes | memoryview]
    label: Any  # in the task's shape: a class, a list of labels, a number or numbers by name
    split: str | None = None
    group: str | None = None


def row(part: str, image: LabeledImage) -> str:
    """A line of the manifest. Files are found by numbers: what survives in a form's file names depends on the way."""
    said = {
        "part": part,
        "file_name": image.file_name,
        "label": image.label,
        "split": image.split,
        "group": image.group,
    }
    return json.dumps({key: value for key, value in said.items() if value is not None})


def file(image: bytes | Path) -> Part:
    """An image to answer for, as a part of a form."""
    # Answers count images; a name would only be one more thing that cannot be written in every form.
    return "images", ("image", image if isinstance(image, bytes) else image.read_bytes(), "application/octet-stream")


def fields(options: dict[str, Any]) -> dict[str, Any]:
    """Options as fields of a form; those that are None are left out."""
    return {key: _text(value) for key, value in options.items() if value is not None}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list) else str(value)
