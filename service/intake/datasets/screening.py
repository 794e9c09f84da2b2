"""Items → those that can be learned from, and what is said of the others: bad labels, contradictions, damage."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from adapters import modalities, tasks
from adapters.errors import InvalidLabel, NotEnoughData
from adapters.labels import contradictions, refuse_contradictions
from adapters.nfc import nfc
from adapters.problems import MOST, Problems
from adapters.types import ORIGINAL, Example
from service.intake.datasets import names
from service.intake.datasets.items import Item, called
from service.intake.datasets.probing import WORK, Turn, unusable
from service.intake.datasets.sources import Received

Json = dict[str, Any]


def labeled(items: Iterable[Item], task_name: str, noun: str = "input") -> tuple[list[Item], Json]:
    """Labels as the task understands them; an input that came twice with one label counts once.

    Returns the items, and {"labels_changed", "repeated"} where there is anything to say. Raises InvalidLabel that lists
    every label that cannot be used, NotEnoughData.
    """
    task, problems, changed = tasks.get(task_name), Problems(), dict[str, str]()
    kept: dict[tuple[str, str], Item] = {}
    count = 0
    for count, item in enumerate(items, start=1):
        try:
            label = task.parse_label(item.example.label, called(count - 1, item.example.file_name, noun))
        except InvalidLabel as error:
            problems.add(error)
            continue
        if _is_changed(item.example.label, task.shown(label)):
            changed[names.shown(item.example.label[:100])] = label
        kept.setdefault((item.example.sha256, label), replace(item, example=replace(item.example, label=label)))
    problems.raise_any()
    if not kept:
        raise NotEnoughData(f"no examples: send {noun}s and their labels", item=f"{noun}s")
    return list(kept.values()), _notes(changed, count - len(kept))


def screened(
    items: list[Item],
    task_name: str,
    held: Sequence[Example],
    most: int | None = None,
    *,
    modality: str = ORIGINAL,
    work: float = WORK,
    turn: Turn = nullcontext,
) -> tuple[list[Item], Problems, Json]:
    """Items without those that cannot be read or that have two labels; what is wrong with those; notes. Blocking.

    The notes are {"cut"}, as `passed_over` has it, where inputs are longer than what a backbone reads.

    `held` are examples that the head has already; the others are those of probing. Raises NotEnoughData where
    too few are left of a class.
    """
    task, sent = tasks.get(task_name), [item.example for item in items]
    twice = contradictions(sent)
    if not twice:
        task.check_examples([*held, *sent])  # before all are looked at, which costs more
    problems, bad = Problems(), set(twice)
    _add_contradictions(problems, sent, twice)
    cut: dict[str, str] = {}

    def tell(index: int, facts: Json) -> None:
        if facts.get("cut"):
            name = called(index, items[index].example.file_name, modalities.get(modality).NOUN)
            cut[name] = f"{facts['cut']:,} of {facts['tokens']:,} tokens are past what the backbone reads"

    for index, error in unusable(items, modality=modality, most=most, work=work, turn=turn, tell=tell):
        problems.add(error)
        bad.add(items[index].example.sha256)
    kept = [item for item in items if item.example.sha256 not in bad]
    return kept, problems, {"cut": passed_over(cut)} if cut else {}


def facts(received: Received, items: Sequence[Item], task_name: str, notes: Json, left_out: Problems) -> Json:
    """What a job says of what came: layout, classes, what was passed over, left out or changed, with the reasons."""
    counts = {"examples": len(items), "classes": _classes(items, task_name)}
    return told(received) | counts | notes | ({"left_out": left_out.facts()} if left_out.count else {})


def told(received: Received) -> Json:
    """How what came was understood and what was passed over, as far as there is anything to say, ready for JSON."""
    said: Json = {name: _bounded(value) for name, value in received.understood.items() if value}
    passed = dict(received.told) or passed_over(received.passed_over)
    return said | ({"passed_over": passed} if passed["count"] else {})


def _bounded(value: Any) -> Any:
    """A name or a table of names, as far as a job keeps it."""
    if isinstance(value, dict):
        return {_bounded(name): one for name, one in list(value.items())[:MOST]}
    return names.shown(value[: names.MOST_SHOWN])


def passed_over(found: Mapping[str, str]) -> Json:
    """{"count", "list": [{"item", "reason"}, …]}, ready for JSON."""
    rows = [
        {"item": names.shown(name[: names.MOST_SHOWN]), "reason": reason}
        for name, reason in sorted(found.items())[:MOST]
    ]
    return {"count": len(found), "list": rows}


def _classes(items: Sequence[Item], task_name: str) -> Json:
    """{"count", "list": {class: its examples}}, the most frequent ones where there are many."""
    task = tasks.get(task_name)
    counted = Counter(name for item in items for name in task.names(item.example.label))
    return {"count": len(counted), "list": dict(sorted(counted.most_common(MOST)))}


def _is_changed(sent: str, kept: Any) -> bool:
    """Whether a class is called otherwise than it was sent, the composition of accents aside."""
    return isinstance(kept, str) and nfc(sent) != kept


def _notes(changed: Mapping[str, str], repeated: int) -> Json:
    listed = [{"sent": sent, "kept": kept} for sent, kept in list(changed.items())[:MOST]]
    said: Json = {"labels_changed": {"count": len(changed), "list": listed}} if changed else {}
    return said | ({"repeated": repeated} if repeated else {})


def _add_contradictions(problems: Problems, sent: Sequence[Example], twice: Mapping[str, list[Example]]) -> None:
    for group in twice.values():
        try:
            refuse_contradictions(group)
        except InvalidLabel as error:
            problems.add(error)
