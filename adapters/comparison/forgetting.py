"""What a version that learned further classes has forgotten of the ones before: measured, not supposed.

The gate asks who is better at the classes that both know, and lets each choose among these alone. Here each chooses
among all that it knows, as when it is asked: an old class may be taken for a new one.
"""

from collections.abc import Sequence
from typing import Any

from adapters import arrays
from adapters.comparison import gate, paired
from adapters.tasks import Task
from adapters.types import Arrays, Schema

MOST = 20  # new classes that are named


def measured(
    task: Task,
    before: Arrays,
    of_before: Schema,
    after: Arrays,
    of_after: Schema,
    labels: Sequence[str],
    always: bool = False,
) -> dict[str, Any] | None:
    """Answers of both versions to the same N held-out examples → figures of those of earlier classes, ready for JSON.

    None where no class was added, unless `always`, or none of the examples is of an earlier one.
    """
    added = sorted(set(of_after.classes) - set(of_before.classes))
    shared = set(of_after.classes) & set(of_before.classes)
    rows = [i for i, label in enumerate(labels) if set(task.names(label)) <= shared]
    if not (added or always) or not rows:
        return None
    of_rows = [labels[i] for i in rows]
    a, b = (
        gate.merits(task, arrays.take(answers, rows), schema, of_rows, schema.classes)
        for answers, schema in ((before, of_before), (after, of_after))
    )
    found = paired.figures(a, b, task.MERIT)
    facts = {"added": added[:MOST], "added_count": len(added), "classes": len(shared), "examples": len(rows)}
    facts |= {"merit": task.MERIT, "before": found["merit_a"], "after": found["merit_b"]}
    facts |= {"difference": found["difference"], "difference_interval": list(found["difference_interval"])}
    return facts | {"meaning": _meaning(facts)}


def _meaning(facts: dict[str, Any]) -> str:
    low, high = facts["difference_interval"]
    merit, many = facts["merit"].replace("_", " "), facts["added_count"]
    change = f"{many} {'was' if many == 1 else 'were'} added" if many else "further examples were learned"
    seen = (
        f"{merit} on {facts['examples']:,} held-out examples of the {facts['classes']} earlier classes was "
        f"{facts['before']:.4f} before {change} and is {facts['after']:.4f} now "
        f"(95 % interval of the difference {low:+.4f} to {high:+.4f})"
    )
    if high < 0:
        return f"{seen}: some of it is lost" + (" to the new ones, which compare shows by example" if many else "")
    return f"{seen}: nothing that chance could not do" if low <= 0 else f"{seen}: it got better"
