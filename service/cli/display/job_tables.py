"""Jobs: how they go, how they ended, the race and what is said of the data."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from service.cli.display import deep
from service.cli.display.console import Json, code, err, lines, out, short, some

if TYPE_CHECKING:
    from service.client import Client

MOST_CLASSES = 30  # rows of a per-class table; the rest is in --json
MOST_CANDIDATES = 8
SCORES = ("accuracy", "label_accuracy", "r2")  # that a race's rows may have


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
            elif kind == "retry":
                progress.console.print(f"[dim]{escape(data['message'])}; trying again[/]")


def received(understood: Json, passed_over: Json) -> None:
    """How a folder or an archive was understood, on standard error: what it is made of is no answer of the server's."""
    said = understood["layout"]
    if understood.get("root"):
        said += f", inside {understood['root']}"
    if understood.get("manifest"):
        said += f" {understood['manifest']}"
    if understood.get("splits"):
        said += " (" + ", ".join(f"{folder}: {split}" for folder, split in understood["splits"].items()) + ")"
    said += f"; names: {understood['names']}" if understood.get("names") else ""
    err.print(f"[dim]understood as: {escape(said)}[/]")
    some(err, "passed over", passed_over, [f"{row['item']}: {row['reason']}" for row in passed_over["list"]])


def job(facts: Json) -> None:
    """One job: how it ended, its figures, and the race."""
    colour = {"succeeded": "green", "failed": "red", "rejected": "yellow", "cancelled": "yellow"}.get(
        facts["status"], "cyan"
    )
    version = f", version {facts['version']}" if facts["version"] else ""
    out.print(f"[bold]{facts['head']}[/]: [{colour}]{facts['status']}[/]{version}  [dim]{facts['id']}[/]")
    if facts["error"]:
        out.print(f"[red]{escape(facts['error']['message'])}[/] {code(facts['error']['code'])}")
        for row in facts["error"].get("errors") or []:
            out.print(f"  [red]{escape(row['item'])}: {escape(row['detail'])}[/]")
    _received(facts.get("received") or {})
    lines(deep.of_job(facts))
    if facts["metrics"]:
        metrics(facts["metrics"])
    if facts["report"]:
        _report(facts["report"])


def _received(facts: Json) -> None:
    """What of the data that came with a job was left out, passed over or changed."""
    for key, what in (("left_out", "left out"), ("passed_over", "passed over"), ("cut", "cut")):
        if key in facts:
            rows = [f"{row['item']}: {row.get('detail') or row.get('reason')}" for row in facts[key]["list"]]
            some(out, what, facts[key], rows)
    if "labels_changed" in facts:
        rows = [f"{row['sent']} is kept as {row['kept']}" for row in facts["labels_changed"]["list"]]
        some(out, "labels changed", facts["labels_changed"], rows)


def metrics(found: Json) -> None:
    """The figures of a version, of examples that it was not taught."""
    if "accuracy" not in found:
        _figures(found)
    else:
        low, high = found["accuracy_interval"]
        out.print(
            f"accuracy [bold]{found['accuracy']:.4f}[/] (95 % interval {low:.3f}–{high:.3f}, {found['examples']} "
            f"held-out examples, {found['evaluation']}); always the largest class: {found['majority_baseline']:.3f}"
        )
        out.print(f"macro F1 {found['macro_f1']:.4f}   log-loss {found['log_loss']:.4f}   ECE {found['ece']:.4f}")


def _figures(metrics: Json) -> None:
    """Of a task without classes: what there is, in its own words."""
    shown = [f"{name.replace('_', ' ')} {value:.4g}" for name, value in metrics.items() if isinstance(value, float)]
    out.print("   ".join(shown))
    out.print(f"[dim]{metrics['examples']} held-out examples, {metrics['evaluation']}[/]")


def _report(report: Json) -> None:
    if "explanation" in report:
        out.print(f"[dim]{escape(report['explanation'])}[/]")
    embedding = report.get("embedding", {})
    gate = report.get("gate", {})
    if embedding:
        views = f", {embedding['views']} further views" if embedding.get("views") else ""
        out.print(f"embedded {embedding['new']} new inputs, {embedding['cached']} from the cache{views}")
    if gate:
        out.print(f"gate: {'passed' if gate['passed'] else 'not passed'}; {escape(gate['reason'])}")
    if "deploy" in report:
        out.print(escape(report["deploy"]))
    if "retired" in report:
        out.print(
            f"deleted versions, which knew what was unlearned: {', '.join(map(str, report['retired']['versions']))}"
        )
    _data(report.get("data_report", {}))
    if report.get("race"):
        _race(report["race"])
        out.print(f"[dim]{escape(report.get('race_note', ''))}[/]")
        _classes(report.get("per_class", {}))


def _data(found: Json) -> None:
    """What looks wrong in the data, as counts; `heads report` names each."""
    if found:
        suspects, copies = found["suspected_labels"], found["near_duplicate_groups"]
        out.print(
            f"data: {suspects['flagged']} of {suspects['judged']} labels look wrong, {found['outliers']} examples are "
            f"unlike their class, {copies} groups of near-duplicates; see: espalier heads report"
        )
    similar(found.get("similar_names", []))
    missing(found.get("missing_names", []))


def similar(groups: Sequence[Sequence[str]]) -> None:
    """Classes that are easily taken for one, with what nobody sees escaped."""
    for group in groups:
        names = " and ".join(escape(repr(name)) for name in group)
        out.print(f"[yellow]classes with nearly one name: {names}; merge them with espalier heads merge[/]")


def missing(names: Sequence[str]) -> None:
    """Classes that are called as programs write a missing value."""
    for name in names:
        out.print(f"[yellow]a class is called {name!r}, as programs write a missing value[/]")


def _race(rows: Sequence[Json]) -> None:
    score = next((name for name in SCORES if name in rows[0]), "accuracy")
    title = f"race of {len(rows)} candidates"
    table = Table("method", "hyperparameters", "views", "reads", "loss", "± s.e.", score.replace("_", " "), title=title)
    for row in rows[:MOST_CANDIDATES]:
        setting = ", ".join(f"{k}={short(v)}" for k, v in row["hyperparameters"].items())
        figures = (f"{row['loss']:.4f}", f"{row['standard_error']:.4f}", f"{row[score]:.4f}")
        table.add_row(row["method"], setting, row.get("views", "none"), row.get("reads", "pooled"), *figures)
    out.print(table)


def _classes(classes: Json) -> None:
    table = Table("class", "precision", "recall", "F1", "held-out examples")
    for label, row in list(classes.items())[:MOST_CLASSES]:
        figures = (f"{row['precision']:.3f}", f"{row['recall']:.3f}", f"{row['f1']:.3f}", str(row["support"]))
        table.add_row(escape(label), *figures)
    out.print(table)


def jobs(rows: Sequence[Json]) -> None:
    """One row a job."""
    table = Table("job", "head", "status", "version", "accuracy", "made")
    for row in rows:
        accuracy = (row["metrics"] or {}).get("accuracy")
        shown = "" if accuracy is None else f"{accuracy:.4f}"
        table.add_row(row["id"], row["head"], row["status"], str(row["version"] or ""), shown, row["created_at"][:19])
    out.print(table)
