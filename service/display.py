"""What the command line shows: tables and progress bars. Knows no HTTP."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.trust import NOVEL

if TYPE_CHECKING:
    from service.client import Client

Json = dict[str, Any]
# Piped output has no width of its own; 80 columns would cut names.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)
MOST_CLASSES = 30  # rows of a per-class table; the rest is in --json
MOST_CANDIDATES = 8


@contextmanager
def status(text: str, *, quiet: bool) -> Iterator[None]:
    """A spinner on standard error while something takes its time."""
    if quiet:
        yield
        return
    with err.status(text):
        yield


def follow(client: "Client", job_id: str, *, quiet: bool) -> None:
    """Progress of a job on standard error, to its end."""
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<11}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=err, disable=quiet, transient=True) as progress:
        bar = progress.add_task("queued", total=None)
        for kind, data in client.events(job_id):
            if kind == "status":
                progress.reset(bar, description=data["status"], total=None)
            elif kind == "progress":
                progress.update(bar, completed=data["done"], total=data["total"])


def job(facts: Json) -> None:
    """One job: how it ended, its figures, and the race."""
    colour = {"succeeded": "green", "failed": "red", "rejected": "yellow", "cancelled": "yellow"}.get(
        facts["status"], "cyan"
    )
    version = f", version {facts['version']}" if facts["version"] else ""
    out.print(f"[bold]{facts['head']}[/]: [{colour}]{facts['status']}[/]{version}  [dim]{facts['id']}[/]")
    if facts["error"]:
        out.print(f"[red]{escape(facts['error']['message'])}[/] {_code(facts['error']['code'])}")
    if facts["metrics"]:
        _metrics(facts["metrics"])
    if facts["report"]:
        _report(facts["report"])


def _metrics(metrics: Json) -> None:
    if "accuracy" in metrics:
        low, high = metrics["accuracy_interval"]
        out.print(
            f"accuracy [bold]{metrics['accuracy']:.4f}[/] (95 % interval {low:.3f}–{high:.3f}, {metrics['examples']} "
            f"held-out examples, {metrics['evaluation']}); always the largest class: {metrics['majority_baseline']:.3f}"
        )
        out.print(f"macro F1 {metrics['macro_f1']:.4f}   log-loss {metrics['log_loss']:.4f}   ECE {metrics['ece']:.4f}")


def _report(report: Json) -> None:
    if "explanation" in report:
        out.print(f"[dim]{escape(report['explanation'])}[/]")
    embedding = report.get("embedding", {})
    gate = report.get("gate", {})
    out.print(f"embedded {embedding.get('new', 0)} new images, {embedding.get('cached', 0)} from the cache")
    out.print(f"gate: {'passed' if gate.get('passed') else 'not passed'}; {escape(str(gate.get('reason', '')))}")
    _race(report.get("race", []))
    _classes(report.get("per_class", {}))


def _race(rows: Sequence[Json]) -> None:
    table = Table(
        "method", "hyperparameters", "log-loss", "± s.e.", "accuracy", title=f"race of {len(rows)} candidates"
    )
    for row in rows[:MOST_CANDIDATES]:
        setting = ", ".join(f"{k}={_short(v)}" for k, v in row["hyperparameters"].items())
        figures = (f"{row['log_loss']:.4f}", f"{row['standard_error']:.4f}", f"{row['accuracy']:.4f}")
        table.add_row(row["method"], setting, *figures)
    out.print(table)


def _classes(classes: Json) -> None:
    table = Table("class", "precision", "recall", "F1", "held-out examples")
    for label, row in list(classes.items())[:MOST_CLASSES]:
        figures = (f"{row['precision']:.3f}", f"{row['recall']:.3f}", f"{row['f1']:.3f}", str(row["support"]))
        table.add_row(escape(label), *figures)
    out.print(table)


def predictions(answer: Json, names: Sequence[str]) -> None:
    """One row an image and head."""
    sets = any("set" in row for row in answer["predictions"])
    table = Table("image", "head", "label", "score", "novelty", "next", *(["set"] if sets else []))
    for row in answer["predictions"]:
        others = ", ".join(f"{escape(t['label'])} {t['score']:.3f}" for t in row["top"][1:])
        head = f"{row['head']}@{row['version']}"
        told = (f"{row['score']:.3f}", _novelty(row["novelty"]), others)
        held = [escape(", ".join(row["set"]) or "none is likely enough")] if "set" in row else []
        table.add_row(escape(names[row["index"]]), head, _answered(row), *told, *held)
    out.print(table)
    for row in answer["errors"]:
        out.print(f"[red]{escape(names[row['index']])}: {escape(row['detail'])}[/] {_code(row['code'])}")


def _answered(row: Json) -> str:
    label = escape(str(row["label"]))
    return f"[yellow]abstains[/] [dim]({label}?)[/]" if row.get("abstain") else label


def _novelty(novelty: float | None) -> str:
    """Two digits; in yellow what is farther out than all but one in a hundred of the images it was taught."""
    if novelty is None:
        return "–"
    return f"[yellow]{novelty:.2f}[/]" if novelty > NOVEL else f"{novelty:.2f}"


def heads(rows: Sequence[Json]) -> None:
    """One row a head."""
    table = Table("head", "live", "versions", "classes", "accuracy")
    for row in rows:
        accuracy = row["metrics"].get("accuracy")
        shown = "" if accuracy is None else f"{accuracy:.4f}"
        table.add_row(row["name"], str(row["live"] or "–"), str(len(row["versions"])), str(len(row["labels"])), shown)
    out.print(table)


def head(facts: Json) -> None:
    """One row a version."""
    out.print(f"[bold]{facts['name']}[/]  task {facts['task']}, {len(facts['labels'])} classes")
    table = Table("version", "aliases", "status", "method", "accuracy", "backbone", "digest", "made")
    for row in facts["versions"]:
        accuracy = row["metrics"].get("accuracy")
        shown = "" if accuracy is None else f"{accuracy:.4f}"
        rest = (row["backbone"], row["digest"][:12], row["created_at"][:19])
        table.add_row(str(row["version"]), ", ".join(row["aliases"]), row["status"], row["method"], shown, *rest)
    out.print(table)


def jobs(rows: Sequence[Json]) -> None:
    """One row a job."""
    table = Table("job", "head", "status", "version", "accuracy", "made")
    for row in rows:
        accuracy = (row["metrics"] or {}).get("accuracy")
        shown = "" if accuracy is None else f"{accuracy:.4f}"
        table.add_row(row["id"], row["head"], row["status"], str(row["version"] or ""), shown, row["created_at"][:19])
    out.print(table)


def backbones(rows: Sequence[Json]) -> None:
    """One row a backbone."""
    table = Table("backbone", "dimension", "input", "precision", "licence", "digest")
    for row in rows:
        size = row["preprocessing"]["size"]
        licence = str(row["details"].get("licence", ""))
        table.add_row(
            row["name"], str(row["dimension"]), f"{size}×{size}", row["precision"], licence, row["digest"][:12]
        )
    out.print(table)


def facts(row: Json) -> None:
    """Everything, one fact a line."""
    table = Table(show_header=False)
    for key, value in row.items():
        table.add_row(key, escape(str(value)))
    out.print(table)


def _code(code: str) -> str:
    return escape(f"[{code}]")  # else rich would take it for markup and leave it out


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
