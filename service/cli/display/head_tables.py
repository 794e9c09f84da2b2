"""Heads, their versions, their examples, and how two versions differ."""

from collections.abc import Sequence

from rich.markup import escape
from rich.table import Table

from adapters.labels import words
from service.cli.display import deep
from service.cli.display.answers import scored
from service.cli.display.console import Json, lines, out
from service.cli.display.job_tables import metrics, missing, similar

MOST_SUSPECTS = 20


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


def report(facts: Json) -> None:
    """How far a version can be trusted, in as many lines as fit on a screen."""
    out.print(f"[bold]{facts['head']}[/]@{facts['version']}  {facts['status']}, {escape(facts['method'])}")
    metrics(facts["metrics"])
    out.print(f"[dim]{escape(facts['explanation'])}[/]")
    curve, found = facts.get("curve") or {}, facts["findings"]
    answer = curve.get("answer") or curve.get("skipped") or "not measured"
    answer += " (of the head on the frozen backbone)" if curve.get("of") == "shallow" else ""
    out.print(f"would more examples help? {escape(answer)}")
    lines(deep.of_report(facts.get("deep")))
    copies = found["duplicates"]
    out.print(f"near-duplicates: {copies['groups']} groups, {copies['straddling']} of them across the split")
    for row in found.get("look_alikes", [])[:3]:
        pair = " and ".join(map(escape, row["classes"]))
        out.print(f"look alike: {pair}, {row['confused']} of {row['of']} taken for the other")
    similar(found.get("similar_names", []))
    missing(found.get("missing_names", []))
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
    lines(deep.of_comparison(facts["forgetting"]))
    table = Table("file", "is", a, b, title=f"{facts['changed_count']} answers changed")
    for row in facts["changed"]:
        table.add_row(escape(row["file_name"]), escape(words(row["label"])), scored(row["a"]), scored(row["b"]))
    out.print(table)
