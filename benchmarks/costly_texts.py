"""Texts, and names of files, that are made to be costly to normalise, to tokenize or to compare."""

import io
import json
import zipfile
from collections.abc import Callable
from functools import partial

from benchmarks.costly_requests import BYTES, END, FIELD, FILE, FORM, JSON, post

LONGEST = 100_000  # characters of a text that is accepted
TEXTS: dict[str, Callable[[], str]] = {
    "marks": lambda: "\u0300\u0316" * (LONGEST // 2),
    "marks behind a letter": lambda: "a" + "\u0316\u0300" * (LONGEST // 2 - 1),
    "marks of two marks": lambda: "\u0f73" * LONGEST,
    "letters of two": lambda: "\U0001d15e" * LONGEST,
    "signs": lambda: "!" * LONGEST,
    "Han": lambda: "漢" * LONGEST,
    "Hangul": lambda: "각" * LONGEST,
    "emoji": lambda: "😀" * LONGEST,
    "long words": lambda: ("x" * 100 + " ") * (LONGEST // 101),
    "one word": lambda: "x" * LONGEST,
    "lines": lambda: "a\n" * (LONGEST // 2),
    "nothing to see": lambda: "\u200d" * LONGEST,
}
TEN = 10
MARKS = "\u0316\u0300"  # in the order in which they have to be changed over


def requests() -> dict[str, Callable[[], bytes]]:
    """By name, each as bytes."""
    made: dict[str, Callable[[], bytes]] = {
        "texts: a zip with names of marks": _zip,
        "texts: a root of marks": _root,
        "texts: a manifest with names of marks": _manifest,
        "texts: a column of marks": _column,
    }
    made |= {f"texts: a form of ten: {name}": partial(_form, name) for name in TEXTS}
    for name in ("marks", "Han"):
        made[f"texts: a table: {name}"] = partial(_table, name)
        made[f"texts: predict: {name}"] = partial(_json, "/predict?head=x", name)
        made[f"texts: embed: {name}"] = partial(_json, "/embed", name)
    return made


def _some(name: str) -> list[str]:
    """Ten of that text, shorter where they would be more than a request's bytes."""
    text = TEXTS[name]()
    each = min(len(text), BYTES // TEN // len(text[0].encode()))
    return [f"{number} {text[:each]}" for number in range(TEN)]


def _form(name: str) -> bytes:
    parts = "".join(FIELD % ("texts", text) for text in _some(name))
    labels = FIELD % ("labels", json.dumps([str(number % 2) for number in range(TEN)]))
    return post("/finetune", (FIELD % ("head", "x") + parts + labels + END).encode(), FORM)


def _table(name: str) -> bytes:
    rows = "".join(f'"{text}",{number % 2}\n' for number, text in enumerate(_some(name)))
    return post("/finetune", _with_manifest(f"text,label\n{rows}"), FORM)


def _json(path: str, name: str) -> bytes:
    return post(path, json.dumps({"inputs": _some(name)}, ensure_ascii=False).encode(), JSON)


def _with_manifest(manifest: str, file_name: str = "a", more: str = "") -> bytes:
    files = "" if manifest.startswith("text") else FILE.replace('"a"', '"%s"') % ("images", file_name, "x")
    return (FIELD % ("head", "x") + files + more + FIELD % ("manifest", manifest) + END).encode()


def _manifest() -> bytes:
    rows = "".join(f"{number}{MARKS * 1000},a\n" for number in range(BYTES // 4010))
    return post("/finetune", _with_manifest(f"file_name,label\n{rows}"), FORM)


def _column() -> bytes:
    return post("/finetune", _with_manifest("file_name,label," + f"{MARKS}- " * (BYTES // 6) + "\na,b,c\n"), FORM)


def _zip(root: bytes = b"") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(BYTES // 2 // 65_000):
            archive.writestr(f"cat/{number}{MARKS * 16_000}", b"x")
    head = (FIELD % ("head", "x")).encode() + root + (FILE.split("%s\r\n")[0] % "archive").encode()
    return post("/finetune", head + file.getvalue() + b"\r\n" + END.encode(), FORM)


def _root() -> bytes:
    return _zip((FIELD % ("root", MARKS * 100_000)).encode())
