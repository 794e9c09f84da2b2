"""What heads say of inputs, and which inputs to label next."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from adapters.labels import words
from adapters.trust import NOVEL
from service.cli.display.console import Json, code, out


def predictions(answer: Json, names: Sequence[str]) -> None:
    """One row an input and head."""
    sets = any("set" in row for row in answer["predictions"])
    table = Table("input", "head", "label", "score", "novelty", "next", *(["set"] if sets else []))
    for row in answer["predictions"]:
        others = ", ".join(f"{escape(t['label'])} {t['score']:.3f}" for t in row["top"][1:])
        head = f"{row['head']}@{row['version']}"
        told = ("" if row["score"] is None else f"{row['score']:.3f}", _novelty(row["novelty"]), others)
        held = [escape(", ".join(row["set"]) or "none is likely enough")] if "set" in row else []
        table.add_row(escape(names[row["index"]]), head, _answered(row), *told, *held)
    out.print(table)
    _cut(answer, names)
    for row in answer["errors"]:
        out.print(f"[red]{escape(names[row['index']])}: {escape(row['detail'])}[/] {code(row['code'])}")


def _cut(answer: Json, names: Sequence[str]) -> None:
    """Inputs that were read in part."""
    for row in answer.get("cut") or []:
        said = f"only the beginning was read, {row['cut']} of {row['tokens']} tokens were not"
        out.print(f"[yellow]{escape(names[row['index']])}: {said}[/]")


def _answered(row: Json) -> str:
    label = escape(words(row["label"]))
    if "interval" in row:
        label += f" [dim]{escape(words(row['interval']))}[/]"
    return f"[yellow]abstains[/] [dim]({label}?)[/]" if row.get("abstain") else label


def scored(row: Json) -> str:
    """A label and how sure the head is of it."""
    score = "" if row["score"] is None else f" {row['score']:.3f}"
    return escape(words(row["label"])) + score


def _novelty(novelty: float | None) -> str:
    """Two digits; in yellow what is farther out than all but one in a hundred of what it was taught."""
    if novelty is None:
        return "–"
    return f"[yellow]{novelty:.2f}[/]" if novelty > NOVEL else f"{novelty:.2f}"


def suggestions(answer: Json, names: Sequence[str]) -> None:
    """One row a suggested input."""
    table = Table("label this next", "the head says", "doubt", title=escape(answer["explanation"]))
    for row in answer["suggestions"]:
        table.add_row(escape(names[row["index"]]), scored(row), f"{row['doubt']:.3f}")
    out.print(table)
    _cut(answer, names)
    expected, at_random = answer["expected_corrections"], answer["expected_of_random"]
    out.print(f"the head expects to have {expected:.1f} of these wrong; of as many random ones {at_random:.1f}")
