"""What the command line shows: tables and progress bars. Knows no HTTP."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from adapters.labels import words
from adapters.trust import NOVEL
from service.cli.display import deep

if TYPE_CHECKING:
    from service.client import Client

Json = dict[str, Any]
# Piped output has no width of its own; 80 columns would cut names.
out = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 160)
err = Console(stderr=True, highlight=False)
MOST_CLASSES = 30  # rows of a per-class table; the rest is in --json
MOST_CANDIDATES = 8
MOST_SUSPECTS = 20
MOST_LISTED = 20  # files that were passed over, and the like
SCORES = ("accuracy", "label_accuracy", "r2")  # that a race's rows may have


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
    _some(err, "passed over", passed_over, [f"{row['item']}: {row['reason']}" for row in passed_over["list"]])


def _some(console: Console, what: str, found: Json, rows: Sequence[str]) -> None:
    """Counted, and listed as far as fits a screen."""
    if found["count"]:
        console.print(f"[yellow]{what}: {found['count']}[/]")
        for row in rows[:MOST_LISTED]:
            console.print(f"  {escape(row)}")
        if found["count"] > len(rows[:MOST_LISTED]):
            console.print(f"  and {found['count'] - len(rows[:MOST_LISTED])} more")


def path(file: Path) -> str:
    """A path for people, whatever its bytes are."""
    return str(file).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def job(facts: Json) -> None:
    """One job: how it ended, its figures, and the race."""
    colour = {"succeeded": "green", "failed": "red", "rejected": "yellow", "cancelled": "yellow"}.get(
        facts["status"], "cyan"
    )
    version = f", version {facts['version']}" if facts["version"] else ""
    out.print(f"[bold]{facts['head']}[/]: [{colour}]{facts['status']}[/]{version}  [dim]{facts['id']}[/]")
    if facts["error"]:
        out.print(f"[red]{escape(facts['error']['message'])}[/] {_code(facts['error']['code'])}")
        for row in facts["error"].get("errors") or []:
            out.print(f"  [red]{escape(row['item'])}: {escape(row['detail'])}[/]")
    _received(facts.get("received") or {})
    _lines(deep.of_job(facts))
    if facts["metrics"]:
        _metrics(facts["metrics"])
    if facts["report"]:
        _report(facts["report"])


def _lines(lines: Iterable[str]) -> None:
    for line in lines:
        out.print(line)


def _received(facts: Json) -> None:
    """What of the data that came with a job was left out, passed over or changed."""
    for key, what in (("left_out", "left out"), ("passed_over", "passed over"), ("cut", "cut")):
        if key in facts:
            rows = [f"{row['item']}: {row.get('detail') or row.get('reason')}" for row in facts[key]["list"]]
            _some(out, what, facts[key], rows)
    if "labels_changed" in facts:
        rows = [f"{row['sent']} is kept as {row['kept']}" for row in facts["labels_changed"]["list"]]
        _some(out, "labels changed", facts["labels_changed"], rows)


def _metrics(metrics: Json) -> None:
    if "accuracy" not in metrics:
        _figures(metrics)
    else:
        low, high = metrics["accuracy_interval"]
        out.print(
            f"accuracy [bold]{metrics['accuracy']:.4f}[/] (95 % interval {low:.3f}–{high:.3f}, {metrics['examples']} "
            f"held-out examples, {metrics['evaluation']}); always the largest class: {metrics['majority_baseline']:.3f}"
        )
        out.print(f"macro F1 {metrics['macro_f1']:.4f}   log-loss {metrics['log_loss']:.4f}   ECE {metrics['ece']:.4f}")


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
    _similar(found.get("similar_names", []))
    _missing(found.get("missing_names", []))


def _similar(groups: Sequence[Sequence[str]]) -> None:
    """Classes that are easily taken for one, with what nobody sees escaped."""
    for group in groups:
        names = " and ".join(escape(repr(name)) for name in group)
        out.print(f"[yellow]classes with nearly one name: {names}; merge them with espalier heads merge[/]")


def _missing(names: Sequence[str]) -> None:
    """Classes that are called as programs write a missing value."""
    for name in names:
        out.print(f"[yellow]a class is called {name!r}, as programs write a missing value[/]")


def _race(rows: Sequence[Json]) -> None:
    score = next((name for name in SCORES if name in rows[0]), "accuracy")
    title = f"race of {len(rows)} candidates"
    table = Table("method", "hyperparameters", "views", "reads", "loss", "± s.e.", score.replace("_", " "), title=title)
    for row in rows[:MOST_CANDIDATES]:
        setting = ", ".join(f"{k}={_short(v)}" for k, v in row["hyperparameters"].items())
        figures = (f"{row['loss']:.4f}", f"{row['standard_error']:.4f}", f"{row[score]:.4f}")
        table.add_row(row["method"], setting, row.get("views", "none"), row.get("reads", "pooled"), *figures)
    out.print(table)


def _classes(classes: Json) -> None:
    table = Table("class", "precision", "recall", "F1", "held-out examples")
    for label, row in list(classes.items())[:MOST_CLASSES]:
        figures = (f"{row['precision']:.3f}", f"{row['recall']:.3f}", f"{row['f1']:.3f}", str(row["support"]))
        table.add_row(escape(label), *figures)
    out.print(table)


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
        out.print(f"[red]{escape(names[row['index']])}: {escape(row['detail'])}[/] {_code(row['code'])}")


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


def _scored(row: Json) -> str:
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
        table.add_row(escape(names[row["index"]]), _scored(row), f"{row['doubt']:.3f}")
    out.print(table)
    _cut(answer, names)
    expected, at_random = answer["expected_corrections"], answer["expected_of_random"]
    out.print(f"the head expects to have {expected:.1f} of these wrong; of as many random ones {at_random:.1f}")


def report(facts: Json) -> None:
    """How far a version can be trusted, in as many lines as fit on a screen."""
    out.print(f"[bold]{facts['head']}[/]@{facts['version']}  {facts['status']}, {escape(facts['method'])}")
    _metrics(facts["metrics"])
    out.print(f"[dim]{escape(facts['explanation'])}[/]")
    curve, found = facts.get("curve") or {}, facts["findings"]
    answer = curve.get("answer") or curve.get("skipped") or "not measured"
    answer += " (of the head on the frozen backbone)" if curve.get("of") == "shallow" else ""
    out.print(f"would more examples help? {escape(answer)}")
    _lines(deep.of_report(facts.get("deep")))
    copies = found["duplicates"]
    out.print(f"near-duplicates: {copies['groups']} groups, {copies['straddling']} of them across the split")
    for row in found.get("look_alikes", [])[:3]:
        pair = " and ".join(map(escape, row["classes"]))
        out.print(f"look alike: {pair}, {row['confused']} of {row['of']} taken for the other")
    _similar(found.get("similar_names", []))
    _missing(found.get("missing_names", []))
    if "outliers" in found:
        out.print(f"unlike their class: {found['outliers']['flagged']} of {found['outliers']['judged']}")
    if "suspected_labels" in found:
        _suspects(found["suspected_labels"])


def _suspects(suspects: Json) -> None:
    title = f"{suspects['flagged']} of {suspects['judged']} labels look wrong"
    table = Table("file", "label", "rather", "score", "SHA-256", title=title)
    for row in suspects["list"][:MOST_SUSPECTS]:
        names = (escape(words(row[key])) for key in ("file_name", "label", "suggested"))
        table.add_row(*names, f"{row['score']:.2f}", row["sha256"][:12])
    out.print(table if suspects["list"] else title)


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
        cut = f", deep behind {row['cut']}" if row.get("cut") else ""
        rest = (row["backbone"] + cut, row["digest"][:12], row["created_at"][:19])
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


def keys(rows: Sequence[Json]) -> None:
    """One row an API key."""
    table = Table("key", "tenant", "name", "scopes", "status", "ends", "last used")
    for row in rows:
        moments = [(row[name] or "")[:19] for name in ("expires_at", "last_used_at")]
        told = (row["tenant"] or "default", escape(row["name"]), ", ".join(row["scopes"]), row["status"])
        table.add_row(row["id"], *told, *moments)
    out.print(table)


def examples(rows: Sequence[Json]) -> None:
    """One row an example."""
    table = Table("sha256", "file", "label", "split", "group")
    for row in rows:
        label = escape(words(row["label"]))
        cells = (escape(row["file_name"]), label, row["split"] or "left out", escape(row["group"] or ""))
        table.add_row(row["sha256"], *cells)
    out.print(table)


def comparison(facts: Json) -> None:
    """Two versions: the paired difference, and one row an answer that changed."""
    a, b = f"{facts['head']}@{facts['a']}", f"{facts['head']}@{facts['b']}"
    if not facts["examples"]:
        out.print(f"{a} and {b} have no held-out examples in common that neither learned from")
        return
    (low, high), merit = facts["difference_interval"], facts["merit"].replace("_", " ")
    out.print(
        f"{b} less {a}: [bold]{facts['difference']:+.4f}[/] {merit} (95 % interval {low:+.3f} to {high:+.3f}, "
        f"p = {facts['p_value']:.2g}, {facts['examples']} held-out examples)"
    )
    out.print(f"{a} answers {facts['a_better']} better, {b} {facts['b_better']}")
    _lines(deep.of_comparison(facts["forgetting"]))
    table = Table("file", "is", a, b, title=f"{facts['changed_count']} answers changed")
    for row in facts["changed"]:
        table.add_row(escape(row["file_name"]), escape(words(row["label"])), _scored(row["a"]), _scored(row["b"]))
    out.print(table)


def _read_by(row: Json) -> str:
    """What a backbone reads: pixels a side of images, the modality of what else."""
    size = (row.get("preprocessing") or {}).get("size")
    return f"{size}×{size}" if size else f"{row['modality']}s"


def backbones(rows: Sequence[Json]) -> None:
    """One row a backbone."""
    table = Table("backbone", "numbers", "with taps", "input", "precision", "licence", "digest")
    for row in rows:
        licence = str(row["details"].get("licence", ""))
        numbers = (str(row["dimension"]), str(row["length"]))
        table.add_row(row["name"], *numbers, _read_by(row), row["precision"], licence, row["digest"][:12])
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


def replicas(found: Json) -> None:
    """Serving processes that live."""
    table = Table("id", "release", "generation", "behind with", "known for", "last heard of")
    for row in found["replicas"]:
        since = [f"{row[key]:.0f} s" for key in ("known_for_seconds", "silent_for_seconds")]
        late = "" if row["generation"] >= found["generation"] else f" of {found['generation']}"
        heads = f"{row['behind']} heads" if row["behind"] else ""
        table.add_row(row["id"], row["release"], f"{row['generation']}{late}", heads, *since)
    out.print(table)
