"""Inputs as parts of a form: labeled ones to learn from, others to answer for."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Part = tuple[str, tuple[str, bytes, str]]  # field, (file name, bytes, media type)


@dataclass(frozen=True, slots=True)
class LabeledInput:
    """One input to learn from; `data` is read when it is sent."""

    file_name: str
    data: Callable[[], bytes | memoryview]
    label: Any  # in the task's shape: a class, a list of labels, a number or numbers by name
    split: str | None = None
    group: str | None = None


LabeledImage = LabeledInput  # what it was called while there were images alone


def row(part: str, one: LabeledInput) -> str:
    """A line of the manifest. Files are found by numbers: what survives in a form's file names depends on the way."""
    said = {
        "part": part,
        "file_name": one.file_name,
        "label": one.label,
        "split": one.split,
        "group": one.group,
    }
    return json.dumps({key: value for key, value in said.items() if value is not None})


def text_row(text: str, label: Any) -> str:
    """A line of a manifest that has the text itself."""
    return json.dumps({"text": text, "label": label})


def file(field: str, one: bytes | Path) -> Part:
    """An input to answer for, as a part of a form."""
    # Answers count inputs; a name would only be one more thing that cannot be written in every form.
    return field, ("input", one if isinstance(one, bytes) else one.read_bytes(), "application/octet-stream")


def fields(options: dict[str, Any]) -> dict[str, Any]:
    """Options as fields of a form; those that are None are left out."""
    return {key: _text(value) for key, value in options.items() if value is not None}


def _text(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict | list | bool) else str(value)
